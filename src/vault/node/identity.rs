//! The node's identity: `<pod>_<pod uid>_<random per process start>`.

use crate::base::id;
use crate::base::random::Random;
use crate::config::PodEnvironment;

/// Characters of the part that differs with every start.
const RANDOM_CHARACTERS: usize = 8;

/// The identity of this process. Outside Kubernetes the host's name and a random UUID stand for pod and UID.
pub(super) fn identity(pod: &PodEnvironment, host: &str, random: &dyn Random) -> String {
    let plain = |text: &str| -> String {
        let kept = text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
        kept.take(253).collect()
    };
    let name = plain(pod.name.as_deref().unwrap_or(host));
    let name = if name.is_empty() { "node".to_owned() } else { name };
    let uid = pod.uid.as_deref().map(plain).filter(|uid| !uid.is_empty()).unwrap_or_else(|| id::uuid(random));
    format!("{name}_{uid}_{}", id::base62(random, RANDOM_CHARACTERS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SystemRandom;

    #[test]
    fn it_names_pod_and_process_and_differs_at_every_start() {
        let pod = PodEnvironment {
            name: Some("vault-0".to_owned()),
            uid: Some("c0ffee".to_owned()),
            ..PodEnvironment::default()
        };
        let first = identity(&pod, "host", &SystemRandom);
        assert!(
            first.starts_with("vault-0_c0ffee_") && first.len() == "vault-0_c0ffee_".len() + 8,
            "{first}"
        );
        assert_ne!(first, identity(&pod, "host", &SystemRandom));
    }

    #[test]
    fn outside_a_pod_the_host_stands_for_it() {
        let text = identity(&PodEnvironment::default(), "my_host\n", &SystemRandom);
        assert_eq!(text.split('_').collect::<Vec<_>>().len(), 3);
        assert!(text.starts_with("myhost_"), "{text}");
    }
}
