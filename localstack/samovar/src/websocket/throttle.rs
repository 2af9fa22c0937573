//! The limits on a client's messages ([status codes of WebSocket APIs]: a client that sends too many is closed with
//! 1008).
//!
//! API Gateway counts the requests of all clients of a route, as well as it can. Here each connection has the route's
//! limit for itself, so that many clients at once measure the functions and not this limit.
//!
//! [status codes of WebSocket APIs]:
//!     https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-status-codes.html

use std::collections::HashMap;

use samovar_template::Throttle;
use tokio::time::Instant;

/// The buckets of one connection, by route key.
#[derive(Debug, Default)]
pub(super) struct Buckets(HashMap<String, Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Buckets {
    /// Takes a token for a message. Returns whether there was one.
    pub(super) fn take(&mut self, route_key: &str, limit: Throttle, now: Instant) -> bool {
        let burst = f64::from(limit.burst);
        let bucket = match self.0.get_mut(route_key) {
            Some(bucket) => bucket,
            None => self.0.entry(route_key.to_owned()).or_insert(Bucket { tokens: burst, filled: now }),
        };
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = elapsed.mul_add(limit.rate, bucket.tokens).min(burst);
        bucket.filled = now;
        let is_enough = bucket.tokens >= 1.0;
        if is_enough {
            bucket.tokens -= 1.0;
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let limit = Throttle { rate: 2.0, burst: 3 };
        let mut take = |key, ms| buckets.take(key, limit, start + Duration::from_millis(ms));
        assert_eq!([take("a", 0), take("a", 0), take("a", 0), take("a", 0)], [true, true, true, false]);
        assert!(take("b", 0), "each route has a bucket");
        assert_eq!([take("a", 499), take("a", 501), take("a", 501)], [false, true, false]);
        assert_eq!(
            [take("a", 60_000), take("a", 60_000), take("a", 60_000), take("a", 60_000)],
            [true, true, true, false]
        );
        assert!(!Buckets::default().take("a", Throttle { rate: 9.0, burst: 0 }, start), "nothing is let through");
    }
}
