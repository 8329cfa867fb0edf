//! Sync tokens: opaque, bound to their stream, and forward only.
//!
//! Rule: a token says where in its stream to go on. It may be repeated until the one it was answered with has been
//! used; from then on it is refused. What is kept of a stream is its last used token, for as long as one can live.

use std::collections::HashMap;
use std::time::Duration;

use super::Place;
use crate::random::mix;
use crate::time::Ms;

/// A stream somebody began: the number of the last event it does not tell, and of the request that began it.
type Stream = (u64, u64);

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) stream: Stream,
    pub(crate) turn: u64,
    pub(crate) from: Place,
    pub(crate) issued: Ms,
}

/// The last used tokens of all streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    used: HashMap<Stream, Token>,
    /// How often all tokens were declared expired.
    era: u64,
}

impl Token {
    /// The first token of a stream that begins now.
    pub(crate) fn first(told: u64, request: u64, now: Ms) -> Self {
        Self { stream: (told, request), turn: 0, from: (now, 0), issued: now }
    }

    /// The token that follows this one.
    pub(crate) fn next(self, from: Place, now: Ms) -> Self {
        Self { turn: self.turn + 1, from, issued: now, ..self }
    }

    fn words(&self) -> [u64; 6] {
        [self.stream.0, self.stream.1, self.turn, self.from.0 as u64, self.from.1, self.issued as u64]
    }
}

fn seal(key: u64, words: &[u64]) -> u64 {
    words.iter().fold(key, |seal, word| mix(seal, 0x5ea1, *word))
}

impl Streams {
    /// Makes all tokens given out so far invalid.
    pub(crate) fn expire(&mut self) {
        self.era += 1;
        self.used.clear();
    }

    /// Writes a token, good for what `key` stands for.
    pub(crate) fn write(&self, key: u64, token: &Token) -> String {
        let key = mix(key, 0xe4a, self.era);
        let words = token.words();
        let seal = seal(key, &words);
        let hidden = words.iter().enumerate().map(|(place, word)| word ^ mix(key, seal, place as u64));
        std::iter::once(seal).chain(hidden).map(|word| format!("{word:016x}")).collect()
    }

    fn open(&self, key: u64, text: &str) -> Option<Token> {
        let key = mix(key, 0xe4a, self.era);
        let mut words =
            (0..7).map(|place| u64::from_str_radix(text.get(16 * place..16 * place + 16)?, 16).ok());
        let given = words.next()??;
        let shown: Vec<u64> = words.collect::<Option<_>>()?;
        let words: Vec<u64> =
            shown.iter().enumerate().map(|(place, word)| word ^ mix(key, given, place as u64)).collect();
        let [told, request, turn, at, number, issued] = words[..] else { return None };
        (text.len() == 112 && seal(key, &words) == given).then_some(Token {
            stream: (told, request),
            turn,
            from: (at as Ms, number),
            issued: issued as Ms,
        })
    }

    /// Reads a token and takes note of its use; `None` if it is invalid, too old, or superseded.
    pub(crate) fn take(&mut self, key: u64, text: &str, now: Ms, ttl: Duration) -> Option<Token> {
        let token = self.open(key, text)?;
        let oldest = now - ttl.as_millis() as Ms;
        if token.issued < oldest {
            return None;
        }
        // The answer to a repeated token may reach further, so two tokens can follow one: whichever is used first.
        let current = self.used.get(&token.stream).is_none_or(|used| {
            token.turn > used.turn || (token.turn == used.turn && token.from == used.from)
        });
        if !current {
            return None;
        }
        if !self.used.contains_key(&token.stream) {
            self.used.retain(|_, used| used.issued >= oldest);
        }
        self.used.insert(token.stream, token);
        Some(token)
    }
}
