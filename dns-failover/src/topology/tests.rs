use super::*;
use crate::key::{TsigAlgorithm, TsigKey};

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}
