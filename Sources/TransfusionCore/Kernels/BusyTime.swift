/// How long the calls of a kernel took together, as its caller saw them.
struct BusyTime {
    private(set) var total = Duration.zero

    package mutating func add(since start: ContinuousClock.Instant) {
        total += .now - start
    }
}

extension Context {
    /// Seconds that this context has spent in matrix products and in attention, waiting for the threads included. What a
    /// step takes beyond them is all other work.
    public var kernelSeconds: (products: Double, attention: Double) {
        (matmul.busy.total / .seconds(1), attentionKernel.busy.total / .seconds(1))
    }
}
