extension Context {
    /// The rate that matrix products of this context reach at best, in floating-point operations per second: what
    /// utilisation is measured against. Takes a fifth of a second: new threads share a processor until the system has
    /// spread them.
    public func measuredPeakRate() -> Double {
        let size = 1024
        let operands = (0..<2).map { _ in empty([size, size]) }
        operands.forEach { $0.fill(1) }
        let product = empty([size, size], .f32)
        let clock = ContinuousClock()
        let end = clock.now + .milliseconds(200)
        var least = Duration.seconds(Int64.max)
        repeat {
            least = min(
                least,
                clock.measure {
                    matmul.multiply(MatrixView(operands[0]), MatrixView(operands[1]), into: MatrixView(product))
                })
        } while clock.now < end
        return 2 * Double(size * size * size) / (least / .seconds(1))
    }
}
