internal import Synchronization

/// Bounds how often each of many callers may do something: a bucket a caller, which fills at a constant rate.
package final class RateLimit: Sendable {
    private struct Bucket {
        var tokens: Double
        var time: SuspendingClock.Instant
    }

    private let rate: Double
    private let burst: Double
    private let buckets = Mutex<[String: Bucket]>([:])
    private static let callers = 4096

    /// - Parameters:
    ///   - rate: Times a second, in the long run.
    ///   - burst: Times at once.
    package init(rate: Double, burst: Double) {
        self.rate = rate
        self.burst = burst
    }

    /// Whether the caller may do it once more now.
    package func allows(_ caller: String, cost: Double = 1, at now: SuspendingClock.Instant = .now) -> Bool {
        buckets.withLock { buckets in
            // Callers that come and go must not fill the memory; full buckets need not be remembered.
            if buckets.count >= Self.callers {
                buckets = buckets.filter { $0.value.tokens + (now - $0.value.time) / .seconds(1) * rate < burst }
                if buckets.count >= Self.callers { buckets = [:] }
            }
            var bucket = buckets[caller] ?? Bucket(tokens: burst, time: now)
            bucket.tokens = min(burst, bucket.tokens + (now - bucket.time) / .seconds(1) * rate)
            bucket.time = now
            let isAllowed = bucket.tokens >= cost
            if isAllowed { bucket.tokens -= cost }
            buckets[caller] = bucket
            return isAllowed
        }
    }
}
