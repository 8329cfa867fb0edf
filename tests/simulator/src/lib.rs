//! A simulated Asana.
