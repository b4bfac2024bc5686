internal import Foundation

/// Linear warm-up to the peak, then half a cosine down to the minimum.
///
/// ### References
/// Transfusion section 4.1 (3e-4, warm-up over 4000 steps, cosine to 1.5e-5); Loshchilov and Hutter 2017, "SGDR".
public struct LearningRateSchedule: Sendable, Equatable {
    public let peak: Double
    public let minimum: Double
    public let warmupSteps: Int
    public let steps: Int

    public init(peak: Double, minimum: Double, warmupSteps: Int, steps: Int) {
        self.peak = peak
        self.minimum = minimum
        self.warmupSteps = warmupSteps
        self.steps = steps
    }

    /// The rate of a step, numbered from 0. The last step of the warm-up has the peak, the last of all the minimum.
    public func learningRate(_ step: Int) -> Double {
        let done = step + 1
        if done < warmupSteps { return peak * Double(done) / Double(warmupSteps) }
        let progress = min(1, Double(done - warmupSteps) / Double(max(1, steps - warmupSteps)))
        return minimum + (peak - minimum) * 0.5 * (1 + cos(Double.pi * progress))
    }
}
