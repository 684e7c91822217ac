//! Tests of the TTL arithmetic.

use proptest::prelude::*;

use super::ttl::{MAX_TTL_SECONDS, TtlError, TtlRequest, ttl};

#[test]
fn ttls_follow_the_table() {
    let base = TtlRequest::default();
    let cases = [
        ("nothing set: the system's default", base, Ok(MAX_TTL_SECONDS), 0),
        ("the mount's default", TtlRequest { mount_default: 100, ..base }, Ok(100), 0),
        (
            "the mount's default above its maximum",
            TtlRequest { mount_default: 100, mount_max: 50, ..base },
            Ok(50),
            0,
        ),
        ("what is asked", TtlRequest { increment: 60, backend_ttl: 100, ..base }, Ok(60), 0),
        ("the role's default", TtlRequest { backend_ttl: 100, mount_default: 7, ..base }, Ok(100), 0),
        ("capped by the mount", TtlRequest { increment: 60, mount_max: 50, ..base }, Ok(50), 1),
        (
            "capped by the role",
            TtlRequest { increment: 60, backend_max: 40, mount_max: 50, ..base },
            Ok(40),
            1,
        ),
        ("capped by the explicit maximum", TtlRequest { increment: 60, explicit_max: 30, ..base }, Ok(30), 1),
        (
            "what is left of the maximum",
            TtlRequest { increment: 60, mount_max: 100, age: 70, ..base },
            Ok(30),
            1,
        ),
        (
            "past the maximum",
            TtlRequest { increment: 60, mount_max: 100, age: 100, ..base },
            Err(TtlError::PastMaximum),
            0,
        ),
        ("a period", TtlRequest { period: 60, increment: 10, age: 10_000_000, ..base }, Ok(60), 0),
        ("a period capped by the mount", TtlRequest { period: 60, mount_max: 50, ..base }, Ok(50), 1),
        (
            "a period near its explicit maximum",
            TtlRequest { period: 60, explicit_max: 100, age: 80, ..base },
            Ok(20),
            0,
        ),
        (
            "a period past it",
            TtlRequest { period: 60, explicit_max: 100, age: 100, ..base },
            Err(TtlError::PastMaximum),
            0,
        ),
    ];
    for (name, request, expected, warnings) in cases {
        let result = ttl(request);
        assert_eq!(result.as_ref().map(|(ttl, _)| *ttl).map_err(|error| *error), expected, "{name}");
        assert_eq!(result.map_or(0, |(_, warnings)| warnings.len()), warnings, "{name}");
    }
    let (_, warnings) = ttl(TtlRequest { increment: 7200, mount_max: 3600, ..base }).expect("ttl");
    let text =
        "TTL of \"2h0m0s\" exceeded the effective max_ttl of \"1h0m0s\"; TTL value is capped accordingly";
    assert_eq!(warnings, [text]);
    assert_eq!(TtlError::PastMaximum.to_string(), "past the max TTL, cannot renew");
}

proptest! {
    #[test]
    fn no_ttl_reaches_beyond_any_maximum(
        increment in 0u64..1000, period in prop_oneof![Just(0u64), 1u64..1000], backend_ttl in 0u64..1000,
        backend_max in 0u64..1000, explicit_max in 0u64..1000, mount_default in 0u64..1000, mount_max in 0u64..1000,
        age in 0u64..2000,
    ) {
        let request = TtlRequest {
            increment, period, backend_ttl, backend_max, explicit_max, mount_default, mount_max, age,
        };
        let limit = |max: u64| if max == 0 { u64::MAX } else { max };
        match ttl(request) {
            Ok((ttl, _)) => {
                prop_assert!(ttl > 0, "a granted TTL is never zero, which would mean no end");
                prop_assert!(age + ttl <= limit(explicit_max));
                prop_assert!(ttl <= limit(mount_max));
                if period == 0 {
                    prop_assert!(age + ttl <= limit(mount_max).min(limit(backend_max)));
                }
            }
            Err(TtlError::PastMaximum) => {
                let reached = age >= limit(explicit_max)
                    || (period == 0 && age >= limit(mount_max).min(limit(backend_max)).min(MAX_TTL_SECONDS));
                prop_assert!(reached);
            }
        }
    }
}
