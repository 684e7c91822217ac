//! The order of sources, the ports, and what is refused.

use super::*;

fn bound(api: &str, tls: bool) -> Bound {
    let api: SocketAddr = api.parse().unwrap();
    Bound { api, cluster: SocketAddr::new(api.ip(), api.port() + 1), tls }
}

fn known(api: &str) -> Known<'static> {
    Known { listeners: vec![bound(api, true)], is_ha: true, ..Known::default() }
}

fn pair(known: &Known<'_>) -> (String, String) {
    let advertised = advertise(known).unwrap();
    (advertised.api, advertised.cluster)
}

fn urls(api: &str, cluster: &str) -> (String, String) {
    (api.to_owned(), cluster.to_owned())
}

#[test]
fn the_environment_wins_over_the_configuration_and_that_over_the_pod() {
    let mut known = known("0.0.0.0:8200");
    known.host = vec!["192.168.1.7".parse().unwrap()];
    assert_eq!(pair(&known), urls("https://192.168.1.7:8200", "https://192.168.1.7:8201"));
    known.pod_ip = Some("10.1.2.3");
    assert_eq!(pair(&known), urls("https://10.1.2.3:8200", "https://10.1.2.3:8201"));
    known.configured = Some("https://vault.example");
    assert_eq!(pair(&known), urls("https://vault.example", "https://vault.example:444"));
    known.environment = Some(("https://10.9.9.9:8200", "VAULT_API_ADDR"));
    assert_eq!(pair(&known), urls("https://10.9.9.9:8200", "https://10.9.9.9:8201"));
    known.cluster_configured = Some("https://10.9.9.9:9001");
    assert_eq!(pair(&known).1, "https://10.9.9.9:9001");
    known.cluster_environment = Some("http://vault-0.internal:7");
    assert_eq!(pair(&known).1, "https://vault-0.internal:7");
}

#[test]
fn the_bound_address_is_used_if_it_is_one() {
    assert_eq!(pair(&known("10.0.0.5:8300")), urls("https://10.0.0.5:8300", "https://10.0.0.5:8301"));
    let mut plain = known("10.0.0.5:8300");
    plain.listeners[0].tls = false;
    assert_eq!(pair(&plain).0, "http://10.0.0.5:8300");
}

#[test]
fn ipv6_is_bracketed() {
    let mut known = known("[::]:8200");
    known.host = vec!["fe80::1".parse().unwrap(), "fd12::7".parse().unwrap()];
    assert_eq!(pair(&known), urls("https://[fd12::7]:8200", "https://[fd12::7]:8201"));
    known.pod_ip = Some("fd00:10::2");
    assert_eq!(pair(&known).0, "https://[fd00:10::2]:8200");
    known.environment = Some(("https://[fd00::9]:443", "VAULT_API_ADDR"));
    assert_eq!(pair(&known), urls("https://[fd00::9]:443", "https://[fd00::9]:444"));
}

#[test]
fn an_address_without_scheme_gets_that_of_the_listener() {
    let mut known = known("0.0.0.0:8200");
    known.configured = Some("10.0.0.9:8200");
    assert_eq!(pair(&known).0, "https://10.0.0.9:8200");
}

#[test]
fn what_nobody_reaches_is_refused_in_ha_mode() {
    let mut known = known("0.0.0.0:8200");
    let text = |known: &Known<'_>| advertise(known).unwrap_err().to_string();
    assert!(text(&known).starts_with("no address to advertise was found: set VAULT_API_ADDR"));
    known.configured = Some("https://0.0.0.0:8200");
    assert!(text(&known).starts_with("api_addr = \"https://0.0.0.0:8200\" cannot be advertised"));
    known.environment = Some(("https://127.0.0.1:8200", "VAULT_ADVERTISE_ADDR"));
    assert!(
        text(&known).starts_with("VAULT_ADVERTISE_ADDR = \"https://127.0.0.1:8200\" cannot be advertised")
    );
    known.is_ha = false;
    assert_eq!(pair(&known).0, "https://127.0.0.1:8200");
}

#[test]
fn loopback_is_a_warning_if_everything_binds_loopback() {
    let advertised = advertise(&known("127.0.0.1:8200")).unwrap();
    assert_eq!(advertised.api, "https://127.0.0.1:8200");
    assert!(advertised.warning.unwrap().contains("only nodes and clients on this machine"));
}

#[test]
fn what_is_no_url_is_refused_by_name() {
    let mut known = known("0.0.0.0:8200");
    for bad in ["ftp://x", "https://", "https://vault.example/path", "not a url"] {
        known.environment = Some((bad, "VAULT_REDIRECT_ADDR"));
        let error = advertise(&known).unwrap_err().to_string();
        assert!(
            error.starts_with("VAULT_REDIRECT_ADDR = ") && error.contains("is not a URL"),
            "{bad}: {error}"
        );
    }
    known.environment = None;
    known.pod_ip = Some("pod");
    assert!(advertise(&known).unwrap_err().to_string().starts_with("POD_IP = \"pod\""));
}

#[test]
fn both_addresses_must_differ() {
    let mut known = known("0.0.0.0:8200");
    known.configured = Some("https://10.0.0.9:8200");
    known.cluster_configured = Some("https://10.0.0.9:8200");
    assert!(matches!(advertise(&known), Err(AdvertiseError::Same(_))));
}

#[test]
fn addresses_of_the_host_are_read_from_the_kernel_tables() {
    let fib = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.5\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\nLocal:\n     |-- 10.0.0.5\n        /32 host LOCAL\n";
    let v6 = "fd120000000000000000000000000007 02 40 00 80     eth0\n";
    let expected: Vec<IpAddr> = ["10.0.0.5", "127.0.0.1", "fd12::7"].map(|ip| ip.parse().unwrap()).to_vec();
    assert_eq!(host_addresses(fib, v6), expected);
}
