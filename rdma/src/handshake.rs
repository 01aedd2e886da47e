//! The authenticated set-up (Noise) and the encrypted channel.
