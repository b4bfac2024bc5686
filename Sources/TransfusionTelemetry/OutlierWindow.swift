/// How far a number lies from those before it, in standard deviations: makes spikes of a loss easy to see.
public struct OutlierWindow: Sendable {
    private var values: [Double] = []
    private var oldest = 0
    private let size: Int

    public init(size: Int = 128) {
        precondition(size > 1)
        self.size = size
    }

    /// Takes the number into the window.
    /// - Returns: Its distance from the mean of the window; nil until the window is full, and when all in it are equal.
    public mutating func zScore(adding value: Double) -> Double? {
        guard value.isFinite else { return nil }
        if values.count < size {
            values.append(value)
        } else {
            values[oldest] = value
            oldest = (oldest + 1) % size
        }
        guard values.count == size else { return nil }
        // Summed anew each time: a running sum would keep the rounding errors of numbers long gone.
        let mean = values.reduce(0, +) / Double(size)
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(size)
        // Equal numbers differ from their mean by its rounding.
        return variance > 1e-20 * mean * mean ? (value - mean) / variance.squareRoot() : nil
    }
}
