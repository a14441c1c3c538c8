//! Tests of the real program, as its users run it.
