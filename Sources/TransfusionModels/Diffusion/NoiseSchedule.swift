internal import Glibc
import TransfusionCore

/// How much of an image is left, and how much is noise, at each timestep.
///
/// `x_t = √ᾱ_t · x0 + √(1 − ᾱ_t) · ε` with `ᾱ_t = Π (1 − β_i)`; timesteps count from 0, as in diffusers.
/// ### References
/// Nichol and Dhariwal 2021, equation 17 (cosine schedule, s = 0.008, β at most 0.999); Transfusion section 2.2.
public struct NoiseSchedule: Sendable, Equatable {
    public let beta: [Double]
    /// ᾱ, the share of the signal's variance that is left.
    public let signalVariance: [Double]

    /// The cosine schedule.
    public init(timesteps: Int = 1000) {
        func remaining(_ share: Double) -> Double {
            let cosine = cos((share + 0.008) / 1.008 * Double.pi / 2)
            return cosine * cosine
        }
        beta = (0..<timesteps).map { step in
            let start = Double(step) / Double(timesteps), end = Double(step + 1) / Double(timesteps)
            return min(1 - remaining(end) / remaining(start), 0.999)
        }
        var product = 1.0
        signalVariance = beta.map { value in
            product *= 1 - value
            return product
        }
    }

    public var timesteps: Int { beta.count }

    /// √ᾱ_t, what the image is multiplied by.
    public func signal(_ timestep: Int) -> Double { signalVariance[timestep].squareRoot() }
    /// √(1 − ᾱ_t), what the noise is multiplied by.
    public func deviation(_ timestep: Int) -> Double { (1 - signalVariance[timestep]).squareRoot() }
}
