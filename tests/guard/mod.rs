//! What must not get worse, seen from outside: how many system calls the broker makes.

mod syscalls;
