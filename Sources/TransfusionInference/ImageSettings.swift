public import TransfusionCore
public import TransfusionModels

/// How images are drawn.
public struct ImageSettings: Sendable, Equatable {
    /// How many steps lead from noise to the image.
    public var steps = 250
    /// How far the prediction is moved away from that without the prompt: `u + scale · (c − u)`. 1 turns guidance off.
    public var guidanceScale = 3.0
    /// For an edit: how far the prediction is moved away from that without the original. 1 turns it off.
    public var originalGuidanceScale = 1.5
    public var method = Sampler.Method.ddim(eta: 0)
    public var spacing = Sampler.Spacing.leading
    /// Clamps the image that each step predicts to [−1, 1]; for models of pixels.
    public var clipsImage = false
    /// For images that are tokens: what the logits are divided by; 0 takes the likeliest token (greedy).
    public var temperature = 0.7
    /// For images that are tokens: the likeliest that together have this probability are considered; 1 considers all. Both as in
    /// Chameleon's published code.
    public var topP = 0.9
    /// Whether a step draws a token, instead of taking away noise.
    private(set) var drawsTokens = false

    public init() {}

    /// What is wrong with the values, by its name; nil when nothing is.
    public var problem: SettingError? {
        let most = NoiseSchedule().timesteps
        if !(1...most).contains(steps) { return SettingError("steps", "must lie between 1 and \(most), not \(steps)") }
        if !guidanceScale.isFinite || abs(guidanceScale) > 1000 {
            return SettingError("cfg-scale", "must lie between -1000 and 1000, not \(guidanceScale)")
        }
        if !originalGuidanceScale.isFinite || abs(originalGuidanceScale) > 1000 {
            return SettingError("image-guidance", "must lie between -1000 and 1000, not \(originalGuidanceScale)")
        }
        if case .ddim(let eta) = method, !(eta >= 0 && eta <= 1) {
            return SettingError("eta", "must lie between 0 and 1, not \(eta)")
        }
        if tokenSettings.problem != nil {
            return !(temperature >= 0 && temperature <= 100)
                ? SettingError("image-temperature", "must lie between 0 and 100, not \(temperature)")
                : SettingError("image-top-p", "must be above 0 and at most 1, not \(topP)")
        }
        return nil
    }

    /// Latents have no range of pixels to be kept within, and images of tokens as many steps as these.
    ///
    /// - Throws: When a setting was changed that such images do not have.
    func settings(for coder: PictureCoder) throws(SettingError) -> ImageSettings {
        let usual = ImageSettings()
        var settings = self
        let foreign =
            coder.tokens == nil
            ? [("image-temperature", temperature != usual.temperature), ("image-top-p", topP != usual.topP)]
            : [
                ("steps", steps != usual.steps), ("sampler", method == .ddpm), ("eta", method != usual.method),
                ("spacing", spacing != usual.spacing),
            ]
        if let (name, _) = foreign.first(where: \.1) {
            let others = coder.tokens == nil ? "are drawn from tokens" : "are made from noise"
            throw SettingError(name, "is for models whose images \(others), which this one's are not; leave it out")
        }
        if coder.hasLatents { settings.clipsImage = false }
        if let tokens = coder.tokens { settings.draw(tokens: tokens) }
        return settings
    }

    /// Takes a step for each token of an image.
    mutating func draw(tokens: Int) { (steps, drawsTokens) = (tokens, true) }

    /// How the tokens of images are chosen.
    var tokenSettings: TextSettings {
        var settings = TextSettings()
        (settings.temperature, settings.topP) = (temperature, topP)
        return settings
    }

    var sampler: Sampler { Sampler(method: method, steps: steps, spacing: spacing, clipsImage: clipsImage) }
    var usesGuidance: Bool { guidanceScale != 1 }

    /// What a branch of guidance knows of an image's condition.
    enum Branch {
        case all
        /// The original, and not what is to become of it.
        case original
        case nothing
    }

    /// The branches of guidance, of which the first knows all, and how far each is moved away from the next one:
    /// `nothing + b · (original − nothing) + a · (all − original)` with the scales a, b. What cancels out is left out.
    ///
    /// ### References
    /// Brooks, Holynski and Efros 2023, "InstructPix2Pix", section 3.2.1.
    func branches(isEdit: Bool) -> (branches: [Branch], scales: [Float]) {
        let (text, image) = (Float(guidanceScale), Float(originalGuidanceScale))
        guard isEdit, text != image else { return usesGuidance ? ([.all, .nothing], [text]) : ([.all], []) }
        return image == 1 ? ([.all, .original], [text]) : ([.all, .original, .nothing], [text, image])
    }
}
