//! Non-blocking multi-socket TCP transport.
