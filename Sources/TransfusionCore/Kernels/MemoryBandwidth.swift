internal import CKernels

extension Context {
    /// Bytes per second at which the threads of this context together read memory at best: what bounds the decoding of
    /// text. Each thread reads its own part of a buffer much larger than the caches.
    public func measuredReadBandwidth() -> Double {
        let wordCount = max(512, 32 * pool.threadCount) << 17
        let buffer = empty([2 * wordCount], .i32)
        let words = UnsafeMutableRawPointer(buffer.integerPointer).assumingMemoryBound(to: UInt64.self)
        // Written by the threads that read it, so that each has its part in the memory beside it.
        pool.parallel(wordCount) { (words + $0.lowerBound).initialize(repeating: 1, count: $0.count) }
        let clock = ContinuousClock()
        let end = clock.now + .milliseconds(500)
        var least = Duration.seconds(Int64.max)
        repeat {
            least = min(
                least,
                clock.measure {
                    pool.parallel(wordCount) { part in
                        let sum = tf_sum_words(words + part.lowerBound, part.count)
                        precondition(sum == UInt64(part.count), "memory has changed")
                    }
                })
        } while clock.now < end
        return Double(8 * wordCount) / (least / .seconds(1))
    }
}
