/// The sizes and options that define an autoencoder of pictures.
///
/// As JSON it is the `config.json` of diffusers' `AutoencoderKL` or `VQModel`, with `z_channels` where the features between
/// encoder and latents have a width of their own, and `code_norm` where codes have a length of 1.
public struct AutoencoderConfiguration: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable, Codable {
        /// Latents are drawn from a normal distribution; a divergence holds it near the unit one.
        case kl
        /// Latents are vectors of a codebook.
        case vq
    }

    /// What is done to codes, and to features before they are compared with them.
    public enum CodeNorm: String, Sendable, CaseIterable {
        case none
        /// They are scaled to a length of 1, so that the angle alone counts.
        case l2
    }

    public var kind: Kind
    /// Channels of the pictures.
    public var pictureChannels = 3
    /// Channels of each level, from the pictures' size downwards; each level but the last halves height and width.
    public var levels: [Int]
    /// Residual blocks of a level; the decoder has one more.
    public var blocksPerLevel = 2
    /// Channels of the latents, which are those of a code's vector in a codebook.
    public var latentChannels: Int
    /// Channels between the encoder and the projection to latents. With `kl`, nil makes them mean and logvar already; with `vq`
    /// there always are some.
    public var featureChannels: Int?
    /// Groups of the normalisations.
    public var groups = 32
    /// Whether there is attention in the middle.
    public var hasAttention = true
    /// Whether the features are projected to latents, and latents to features.
    public var projectsToLatents = true
    public var projectsFromLatents = true
    /// How many codes the codebook has.
    public var codes = 16_384
    public var codeNorm = CodeNorm.none
    /// What latents are multiplied by before a diffusion model sees them.
    public var latentScale = 1.0
    /// What is subtracted from latents before that.
    public var latentShift = 0.0
    /// Height and width of the pictures that it was trained on, when that is known.
    public var pictureSize: Int?

    public init(kind: Kind, levels: [Int], latentChannels: Int, featureChannels: Int? = nil) {
        self.kind = kind
        self.levels = levels
        self.latentChannels = latentChannels
        self.featureChannels = featureChannels ?? (kind == .vq ? latentChannels : nil)
    }

    /// Weight of the loss that draws features to their codes, against the one that draws codes to features.
    public static let commitment: Float = 0.25
    /// What is added to variances by the normalisations.
    public static let normEpsilon: Float = 1e-6

    /// Pixels along the side of a latent.
    public var downsampling: Int { 1 << (levels.count - 1) }
    /// Channels of the encoder's result.
    public var encoderChannels: Int { featureChannels ?? (kind == .kl ? 2 * latentChannels : latentChannels) }
    /// Channels of the decoder's input.
    public var decoderChannels: Int { featureChannels ?? latentChannels }
}

/// Autoencoders with known sizes.
public enum AutoencoderPreset: String, Sendable, CaseIterable {
    /// The paper's 86M parameters: pictures of 256 × 256 become latents of 32 × 32 × 8.
    case paper
    /// Stable Diffusion's: the same with 4 channels.
    case sd
    /// For pictures of 64 × 64 on a laptop: latents of 16 × 16 × 4.
    case small

    public func configuration(_ kind: AutoencoderConfiguration.Kind) -> AutoencoderConfiguration {
        switch self {
        case .paper:
            return AutoencoderConfiguration(
                kind: kind, levels: [128, 256, 512, 512], latentChannels: 8, featureChannels: 256)
        case .sd:
            var configuration = AutoencoderConfiguration(kind: kind, levels: [128, 256, 512, 512], latentChannels: 4)
            configuration.latentScale = 0.18215
            return configuration
        case .small:
            var configuration = AutoencoderConfiguration(kind: kind, levels: [32, 64, 64], latentChannels: 4)
            if kind == .vq { configuration.codes = 1024 }
            return configuration
        }
    }
}

extension AutoencoderConfiguration {
    /// Everything that is wrong with the configuration; empty when an autoencoder can be made of it.
    public func problems() -> [String] {
        var problems: [String] = []
        func require(_ holds: Bool, _ message: @autoclosure () -> String) {
            if !holds { problems.append(message()) }
        }
        // The bounds keep every product of sizes inside an Int, and all parameters' names in memory.
        require((1...8).contains(levels.count), "an autoencoder has 1 to 8 levels, not \(levels.count)")
        require((1...64).contains(blocksPerLevel), "a level has 1 to 64 blocks, not \(blocksPerLevel)")
        let channels =
            [("a level", 8192, levels), ("pictures", 64, [pictureChannels]), ("latents", 1024, [latentChannels])]
            + [("features", 8192, [featureChannels ?? 1])]
        for (name, most, counts) in channels {
            for count in counts where !(1...most).contains(count) {
                problems.append("\(name) must have 1 to \(most) channels, not \(count)")
            }
        }
        require((2...1 << 20).contains(codes), "a codebook has 2 to \(1 << 20) codes, not \(codes)")
        require((1...8192).contains(groups), "normalisations need 1 group or more, not \(groups)")
        guard problems.isEmpty else { return problems }
        for count in levels where count % groups != 0 {
            problems.append("\(groups) groups do not divide a level of \(count) channels")
        }
        require(!hasAttention || (levels.last ?? 0) % 2 == 0, "attention needs an even number of channels")
        require(
            projectsToLatents || featureChannels == nil,
            "features of \(encoderChannels) channels become \(latentChannels) by a projection only")
        require(
            projectsFromLatents || featureChannels == nil,
            "\(latentChannels) channels become features of \(decoderChannels) by a projection only")
        require(
            kind == .kl || projectsToLatents && projectsFromLatents,
            "an autoencoder with a codebook projects to its codes and back")
        require(latentScale.isFinite && latentScale > 0, "latents are scaled by a number above 0, not \(latentScale)")
        require(latentShift.isFinite, "latents are shifted by a number, not \(latentShift)")
        return problems
    }
}

extension AutoencoderConfiguration: Codable {
    private enum CodingKeys: String, CodingKey {
        case className = "_class_name"
        case activation = "act_fn"
        case levels = "block_out_channels"
        case downBlocks = "down_block_types"
        case upBlocks = "up_block_types"
        case inChannels = "in_channels"
        case outChannels = "out_channels"
        case latentChannels = "latent_channels"
        case blocksPerLevel = "layers_per_block"
        case hasAttention = "mid_block_add_attention"
        case groups = "norm_num_groups"
        case sampleSize = "sample_size"
        case latentScale = "scaling_factor"
        case latentShift = "shift_factor"
        case projectsToLatents = "use_quant_conv"
        case projectsFromLatents = "use_post_quant_conv"
        case codes = "num_vq_embeddings"
        case codeChannels = "vq_embed_dim"
        case normType = "norm_type"
        case lookup = "lookup_from_codebook"
        case latentsMean = "latents_mean"
        case latentsDeviation = "latents_std"
        case featureChannels = "z_channels"
        case codeNorm = "code_norm"
    }

    private static let downBlock = "DownEncoderBlock2D"
    private static let upBlock = "UpDecoderBlock2D"

    /// What diffusers calls a kind.
    private static func className(_ kind: Kind) -> String { kind == .kl ? "AutoencoderKL" : "VQModel" }

    /// Refuses by name what no autoencoder here has. Where a key is missing, diffusers' default holds.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func refuse(_ key: CodingKeys, _ problem: String) -> DecodingError {
            DecodingError.dataCorruptedError(forKey: key, in: values, debugDescription: problem)
        }
        func given<Value: Decodable>(_ key: CodingKeys, or value: Value) throws -> Value {
            try values.decodeIfPresent(Value.self, forKey: key) ?? value
        }
        let name = try values.decode(String.self, forKey: .className)
        guard let kind = Kind.allCases.first(where: { Self.className($0) == name }) else {
            throw refuse(.className, "is \(name); AutoencoderKL and VQModel are known")
        }
        let latents = try given(.latentChannels, or: kind == .kl ? 4 : 3)
        self.init(kind: kind, levels: try given(.levels, or: [64]), latentChannels: latents)
        pictureChannels = try given(.inChannels, or: 3)
        guard try given(.outChannels, or: 3) == pictureChannels else {
            throw refuse(.outChannels, "differs from in_channels")
        }
        blocksPerLevel = try given(.blocksPerLevel, or: 1)
        groups = try given(.groups, or: 32)
        hasAttention = try given(.hasAttention, or: true)
        pictureSize = try values.decodeIfPresent(Int.self, forKey: .sampleSize)
        latentScale = try given(.latentScale, or: 0.18215)
        latentShift = try given(.latentShift, or: 0)
        if kind == .kl {
            featureChannels = try values.decodeIfPresent(Int.self, forKey: .featureChannels)
            projectsToLatents = try given(.projectsToLatents, or: true)
            projectsFromLatents = try given(.projectsFromLatents, or: true)
        } else {
            // diffusers: latent_channels are the features, vq_embed_dim the width of a code.
            featureChannels = latents
            latentChannels = try given(.codeChannels, or: latents)
            codes = try given(.codes, or: 256)
            let norm = try given(.codeNorm, or: CodeNorm.none.rawValue)
            guard let known = CodeNorm(rawValue: norm) else {
                throw refuse(.codeNorm, "is \(norm); none and l2 are known")
            }
            codeNorm = known
        }
        for (key, expected) in [(CodingKeys.downBlocks, Self.downBlock), (.upBlocks, Self.upBlock)] {
            let types = try given(key, or: [String](repeating: expected, count: levels.count))
            if let other = types.first(where: { $0 != expected }) {
                throw refuse(key, "has a \(other); only \(expected) is known")
            }
            guard types.count == levels.count else {
                throw refuse(key, "has \(types.count) blocks for \(levels.count) levels")
            }
        }
        let activation = try given(.activation, or: "silu")
        guard activation == "silu" else { throw refuse(.activation, "is \(activation); silu is known") }
        let norm = try given(.normType, or: "group")
        guard norm == "group" else { throw refuse(.normType, "is \(norm); group is known") }
        guard try !given(.lookup, or: false) else { throw refuse(.lookup, "is true; false is known") }
        for key in [CodingKeys.latentsMean, .latentsDeviation]
        where try values.decodeIfPresent([Double].self, forKey: key) != nil {
            throw refuse(key, "gives each channel its own scale; scaling_factor and shift_factor are known")
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(Self.className(kind), forKey: .className)
        try values.encode("silu", forKey: .activation)
        try values.encode(levels, forKey: .levels)
        try values.encode([String](repeating: Self.downBlock, count: levels.count), forKey: .downBlocks)
        try values.encode([String](repeating: Self.upBlock, count: levels.count), forKey: .upBlocks)
        try values.encode(pictureChannels, forKey: .inChannels)
        try values.encode(pictureChannels, forKey: .outChannels)
        try values.encode(blocksPerLevel, forKey: .blocksPerLevel)
        try values.encode(hasAttention, forKey: .hasAttention)
        try values.encode(groups, forKey: .groups)
        try values.encodeIfPresent(pictureSize, forKey: .sampleSize)
        try values.encode(latentScale, forKey: .latentScale)
        if kind == .kl {
            try values.encode(latentChannels, forKey: .latentChannels)
            try values.encodeIfPresent(featureChannels, forKey: .featureChannels)
            try values.encode(projectsToLatents, forKey: .projectsToLatents)
            try values.encode(projectsFromLatents, forKey: .projectsFromLatents)
            if latentShift != 0 { try values.encode(latentShift, forKey: .latentShift) }
        } else {
            try values.encode(featureChannels ?? latentChannels, forKey: .latentChannels)
            try values.encode(latentChannels, forKey: .codeChannels)
            try values.encode(codes, forKey: .codes)
            if codeNorm != .none { try values.encode(codeNorm.rawValue, forKey: .codeNorm) }
        }
    }
}
