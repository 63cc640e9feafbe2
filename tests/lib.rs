//! What the black-box tests share: starting a broker, and a small wire client of their own.
