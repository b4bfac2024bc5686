import TransfusionCore
public import TransfusionModels

/// How images are drawn.
public struct ImageSettings: Sendable, Equatable {
    /// How many steps lead from noise to the image.
    public var steps = 250
    /// How far the prediction is moved away from that without the prompt: `u + scale · (c − u)`. 1 turns guidance off.
    public var guidanceScale = 3.0
    public var method = Sampler.Method.ddim(eta: 0)
    public var spacing = Sampler.Spacing.leading
    /// Clamps the image that each step predicts to [−1, 1]; for models of pixels.
    public var clipsImage = false

    public init() {}

    /// What is wrong with the values, in words that name the option; nil when nothing is.
    public var problem: String? {
        let most = NoiseSchedule().timesteps
        if !(1...most).contains(steps) { return "--steps must lie between 1 and \(most), not \(steps)" }
        if !guidanceScale.isFinite || abs(guidanceScale) > 1000 {
            return "--cfg-scale must lie between -1000 and 1000, not \(guidanceScale)"
        }
        if case .ddim(let eta) = method, !(eta >= 0 && eta <= 1) {
            return "--eta must lie between 0 and 1, not \(eta)"
        }
        return nil
    }

    /// Latents have no range of pixels to be kept within.
    func settings(for coder: PictureCoder) -> ImageSettings {
        var settings = self
        if coder.hasLatents { settings.clipsImage = false }
        return settings
    }

    var sampler: Sampler { Sampler(method: method, steps: steps, spacing: spacing, clipsImage: clipsImage) }
    var usesGuidance: Bool { guidanceScale != 1 }
}
