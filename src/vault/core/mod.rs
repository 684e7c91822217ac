//! The kernel: mounts, policies, tokens and the request pipeline.
