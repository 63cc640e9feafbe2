//! Recovery against a model: histories are written as a broker would, cut off, damaged, read back.
#![cfg(test)]

mod cases;
mod damage;
mod disk;
mod histories;
mod view;
mod world;
