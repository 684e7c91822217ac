//! Engines that steer the kernel: sys/ and auth/token/.
