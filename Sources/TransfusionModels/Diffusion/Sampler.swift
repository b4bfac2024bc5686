internal import Glibc
import TransfusionCore

/// The way from noise to an image in a chosen number of steps.
public struct Sampler: Sendable {
    public enum Method: Sendable, Equatable {
        /// Song, Meng and Ermon 2021, equation 12. With `eta` 0 the way is determined by the first noise; with 1 each
        /// step adds as much noise as ancestral sampling.
        case ddim(eta: Double)
        /// Ho, Jain and Abbeel 2020, ancestral sampling with the posterior variance β̃.
        case ddpm
    }

    public enum Spacing: String, Sendable, CaseIterable {
        /// 0, k, 2k … with k = ⌊T / steps⌋: the last step ends at timestep 0.
        case leading
        /// T − 1, T − 1 − k … : the first step starts at the last timestep.
        case trailing
    }

    public let schedule: NoiseSchedule
    public let method: Method
    /// Clamps the image that each step predicts to [−1, 1], and the predicted noise with it. For pixels, not for latents.
    public let clipsImage: Bool
    /// The timesteps to visit, descending.
    public let timesteps: [Int]
    /// The timestep that each step arrives at; -1 stands for the clean image.
    private let arrivals: [Int]

    public init(
        schedule: NoiseSchedule = NoiseSchedule(), method: Method = .ddim(eta: 0), steps: Int,
        spacing: Spacing = .leading, clipsImage: Bool = false
    ) {
        precondition(steps >= 1 && steps <= schedule.timesteps, "1 to \(schedule.timesteps) steps, not \(steps)")
        self.schedule = schedule
        self.method = method
        self.clipsImage = clipsImage
        let all = schedule.timesteps
        let timesteps: [Int] =
            switch spacing {
            case .leading: (0..<steps).reversed().map { $0 * (all / steps) }
            case .trailing:
                (0..<steps).map {
                    Int((Double(all) - Double($0) * Double(all) / Double(steps)).rounded(.toNearestOrEven)) - 1
                }
            }
        self.timesteps = timesteps
        // As in diffusers, whose DDIM steps by ⌊T / steps⌋ and calls everything below 0 the clean image, and whose DDPM
        // steps to the next timestep. They differ where steps do not divide T and spacing is trailing.
        arrivals =
            method == .ddpm ? timesteps.dropFirst() + [-1] : timesteps.map { max($0 - all / steps, -1) }
    }

    /// Takes `image` from the timestep of `step` to the next.
    ///
    /// - Parameters:
    ///   - image: x_t, replaced by the next image.
    ///   - noise: The model's prediction ε(x_t, t).
    ///   - fresh: Fills a buffer with new normal numbers; called when the step adds noise.
    public func advance(
        _ image: inout [Float], predictedNoise noise: [Float], step: Int,
        fresh: (UnsafeMutableBufferPointer<Float>) -> Void
    ) {
        let coefficients = coefficients(step)
        var added = [Float](repeating: 0, count: coefficients.deviation > 0 ? image.count : 0)
        if coefficients.deviation > 0 { added.withUnsafeMutableBufferPointer { fresh($0) } }
        let signal = Float(coefficients.signal), noiseShare = Float(coefficients.noise)
        for i in image.indices {
            var clean = (image[i] - noiseShare * noise[i]) / signal
            var noise = noise[i]
            if clipsImage, abs(clean) > 1 {
                // The noise that goes with the clamped image: what the clamp takes away must not stay in the next
                // image as noise that no step removes.
                clean = min(max(clean, -1), 1)
                noise = (image[i] - signal * clean) / noiseShare
            }
            image[i] =
                Float(coefficients.fromClean) * clean + Float(coefficients.fromNoise) * noise
                + Float(coefficients.fromImage) * image[i]
            if coefficients.deviation > 0 { image[i] += Float(coefficients.deviation) * added[i] }
        }
    }

    private struct Coefficients {
        /// √ᾱ_t and √(1 − ᾱ_t).
        var signal = 0.0, noise = 0.0
        /// The next image is a sum of the predicted clean image, the predicted noise, x_t and fresh noise.
        var fromClean = 0.0, fromNoise = 0.0, fromImage = 0.0, deviation = 0.0
    }

    private func coefficients(_ step: Int) -> Coefficients {
        let here = schedule.signalVariance[timesteps[step]]
        let there = arrivals[step] >= 0 ? schedule.signalVariance[arrivals[step]] : 1
        var result = Coefficients()
        result.signal = here.squareRoot()
        result.noise = (1 - here).squareRoot()
        switch method {
        case .ddim(let eta):
            let variance = (1 - there) / (1 - here) * (1 - here / there)
            result.deviation = eta * variance.squareRoot()
            result.fromClean = there.squareRoot()
            result.fromNoise = max(0, 1 - there - result.deviation * result.deviation).squareRoot()
        case .ddpm:
            let beta = 1 - here / there
            result.fromClean = there.squareRoot() * beta / (1 - here)
            result.fromImage = (here / there).squareRoot() * (1 - there) / (1 - here)
            // At the last step the variance is 0 and nothing is added.
            result.deviation = timesteps[step] > 0 ? max(beta * (1 - there) / (1 - here), 1e-20).squareRoot() : 0
        }
        return result
    }
}
