//! What the engines say of their routes.

use crate::vault::core::KernelEngine;
use crate::vault::logical::Operation::{Delete, List, Read, Update};
use crate::vault::system::sys::SystemEngine;
use crate::vault::system::token::TokenEngine;

#[test]
fn powerful_paths_need_sudo() {
    for path in ["seal", "step-down", "rotate", "rotate/keyring", "remount", "auth/x", "auth/token/tune"] {
        assert!(SystemEngine.route(Update, path).needs_sudo, "{path}");
    }
    for path in ["mounts/x", "auth", "policies/acl/x", "capabilities-self", "leases/revoke"] {
        assert!(!SystemEngine.route(Update, path).needs_sudo, "{path}");
    }
    assert!(TokenEngine.route(List, "accessors/").needs_sudo);
    assert!(TokenEngine.route(Update, "revoke-orphan").needs_sudo);
    assert!(!TokenEngine.route(Update, "create").needs_sudo);
}

#[test]
fn only_questions_about_mounts_need_no_policy() {
    for path in ["internal/ui/mounts", "internal/ui/mounts/secret/a"] {
        assert!(SystemEngine.route(Read, path).unauthenticated, "{path}");
    }
    for path in ["internal/ui/resultant-acl", "mounts", "seal", "key-status"] {
        assert!(!SystemEngine.route(Read, path).unauthenticated, "{path}");
    }
    assert!(!SystemEngine.route(Update, "internal/ui/mounts").unauthenticated);
    for path in ["create", "lookup-self", "renew", "revoke", "accessors", "roles/x"] {
        assert!(!TokenEngine.route(Update, path).unauthenticated, "{path}");
    }
}

#[test]
fn writes_that_make_something_are_never_repeated() {
    for path in ["mounts/x", "auth/x", "policies/acl/x", "rotate", "remount", "seal", "step-down"] {
        assert!(!SystemEngine.route(Update, path).repeatable, "{path}");
    }
    assert!(!SystemEngine.route(Delete, "mounts/x").repeatable);
    for path in ["capabilities", "capabilities-self", "leases/revoke", "leases/revoke/x", "tools/hash"] {
        assert!(SystemEngine.route(Update, path).repeatable, "{path}");
    }
    for path in ["create", "create-orphan", "create/role", "renew", "renew-self", "revoke-orphan", "roles/x"]
    {
        assert!(!TokenEngine.route(Update, path).repeatable, "{path}");
    }
    for path in ["lookup", "revoke", "revoke-accessor"] {
        assert!(TokenEngine.route(Update, path).repeatable, "{path}");
    }
    assert!(
        SystemEngine.route(Read, "mounts").repeatable && TokenEngine.route(Read, "lookup-self").repeatable
    );
}

#[test]
fn stepping_down_is_for_the_active_node() {
    assert!(SystemEngine.route(Update, "step-down").active_only);
    assert!(SystemEngine.route(Read, "ha-status").active_only);
    assert!(!SystemEngine.route(Read, "mounts").active_only);
}
