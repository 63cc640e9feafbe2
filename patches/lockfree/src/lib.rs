//! Empty on purpose: glommio depends on `lockfree` without using it.
