extension Context {
    /// The rate that matrix products of this context reach at best, in floating-point operations per second: what
    /// utilisation is measured against. Takes some tens of milliseconds.
    public func measuredPeakRate() -> Double {
        let size = 1024
        let operands = (0..<2).map { _ in empty([size, size]) }
        operands.forEach { $0.fill(1) }
        let product = empty([size, size], .f32)
        let clock = ContinuousClock()
        let durations = (0..<8).map { _ in
            clock.measure {
                matmul.multiply(MatrixView(operands[0]), MatrixView(operands[1]), into: MatrixView(product))
            }
        }
        let seconds = durations.min()! / .seconds(1)
        return 2 * Double(size * size * size) / seconds
    }
}
