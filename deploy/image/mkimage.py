#!/usr/bin/env python3
"""Make an OCI image from one static program, without a container engine.

    mkimage.py [--ca BUNDLE] NAME:TAG PROGRAM OUT.tar

The image holds the program, /tmp, the users root and nonroot (65532, who runs
the program) and, with --ca, a bundle of certificate authorities. The same
program gives the same image, byte for byte: nothing in it tells the time.
"""
import gzip
import hashlib
import io
import json
import os
import struct
import sys
import tarfile

USER = 65532
MACHINES = {62: "amd64", 183: "arm64"}  # e_machine of an ELF header
CA_PATH = "etc/ssl/certs/ca-certificates.crt"


def add(tar, name, data=b"", mode=0o644, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type = len(data), mode, kind
    tar.addfile(info, io.BytesIO(data))


def read(path):
    with open(path, "rb") as f:
        return f.read()


def architecture(program):
    """What the program runs on, and that it needs nothing but a kernel."""
    if program[:4] != b"\x7fELF" or program[4] != 2:
        sys.exit("mkimage: the program is no 64-bit ELF file")
    (machine,) = struct.unpack_from("<H", program, 18)
    offset, size, count = (struct.unpack_from("<Q", program, 32)[0], *struct.unpack_from("<HH", program, 54))
    for i in range(count):
        if struct.unpack_from("<I", program, offset + i * size)[0] == 3:  # PT_INTERP
            sys.exit("mkimage: the program is not static: it asks for a loader that the image does not hold")
    return MACHINES[machine]


def layer(name, program, bundle):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder, mode in (("tmp", 0o1777), ("etc", 0o755)):
            add(tar, folder, mode=mode, kind=tarfile.DIRTYPE)
        add(tar, "etc/passwd", b"root:x:0:0::/:\nnonroot:x:%d:%d::/:\n" % (USER, USER))
        add(tar, "etc/group", b"root:x:0:\nnonroot:x:%d:\n" % USER)
        if bundle:
            for folder in ("etc/ssl", "etc/ssl/certs"):
                add(tar, folder, mode=0o755, kind=tarfile.DIRTYPE)
            add(tar, CA_PATH, bundle)
        add(tar, name, program, 0o755)
    return out.getvalue()


def blob(descriptor):
    return "blobs/" + descriptor["digest"].replace(":", "/")


def image(ref, name, program, bundle, path):
    blobs = {}

    def keep(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": kind, "digest": "sha256:" + digest, "size": len(data)}

    plain = layer(name, program, bundle)
    oci = "application/vnd.oci.image."
    run = {"User": f"{USER}:{USER}", "Entrypoint": ["/" + name]}
    if bundle:
        run["Env"] = ["SSL_CERT_FILE=/" + CA_PATH]
    machine = architecture(program)
    config = keep(json.dumps({
        "architecture": machine,
        "os": "linux",
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(plain).hexdigest()]},
    }).encode(), oci + "config.v1+json")
    packed = keep(gzip.compress(plain, 1, mtime=0), oci + "layer.v1.tar+gzip")
    manifest = keep(json.dumps({
        "schemaVersion": 2,
        "mediaType": oci + "manifest.v1+json",
        "config": config,
        "layers": [packed],
    }).encode(), oci + "manifest.v1+json")
    manifest["platform"] = {"os": "linux", "architecture": machine}
    manifest["annotations"] = {
        "io.containerd.image.name": ref,
        "org.opencontainers.image.ref.name": ref.rsplit(":", 1)[1],
    }
    index = {"schemaVersion": 2, "mediaType": oci + "index.v1+json", "manifests": [manifest]}
    # Docker reads its own list: the same blobs by their names.
    docker = [{"Config": blob(config), "RepoTags": [ref], "Layers": [blob(packed)]}]
    with tarfile.open(path, "w") as tar:
        add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add(tar, "index.json", json.dumps(index).encode())
        add(tar, "manifest.json", json.dumps(docker).encode())
        for digest, data in blobs.items():
            add(tar, "blobs/sha256/" + digest, data)


def main(args):
    bundle = b""
    if args[:1] == ["--ca"]:
        bundle, args = read(args[1]), args[2:]
    if len(args) != 3 or ":" not in args[0]:
        sys.exit(__doc__)
    image(args[0], os.path.basename(args[1]), read(args[1]), bundle, args[2])


if __name__ == "__main__":
    main(sys.argv[1:])
