/// Llama 3's scaling of the rotary embedding: long wavelengths become longer, so that a model reaches beyond the context
/// that it was trained on; short ones stay.
///
/// ### References
/// Meta's Llama 3.1 (`apply_scaling`), and `rope_type: llama3` of Hugging Face's transformers.
public struct RotaryScaling: Sendable, Equatable {
    /// What the lowest frequencies are divided by.
    public var factor = 1.0
    /// Wavelengths above the original context over this are scaled by the whole factor.
    public var lowFrequencyFactor = 1.0
    /// Wavelengths below the original context over this stay. Between both they go over into each other.
    public var highFrequencyFactor = 4.0
    /// Rows of the context that the model was trained on at first.
    public var originalContext = 8192

    public init() {}

    /// - Parameter frequency: Radians for each position.
    package func scaled(_ frequency: Double) -> Double {
        let turns = Double(originalContext) * frequency / (2 * Double.pi)
        if turns < lowFrequencyFactor { return frequency / factor }
        if turns > highFrequencyFactor { return frequency }
        let share = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor)
        return (1 - share) * frequency / factor + share * frequency
    }
}

extension RotaryScaling: Codable {
    private enum CodingKeys: String, CodingKey {
        case type = "rope_type"
        case factor
        case lowFrequencyFactor = "low_freq_factor"
        case highFrequencyFactor = "high_freq_factor"
        case originalContext = "original_max_position_embeddings"
    }

    /// Reads what transformers writes for `rope_type: llama3`.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        factor = try values.decode(Double.self, forKey: .factor)
        lowFrequencyFactor = try values.decode(Double.self, forKey: .lowFrequencyFactor)
        highFrequencyFactor = try values.decode(Double.self, forKey: .highFrequencyFactor)
        originalContext = try values.decode(Int.self, forKey: .originalContext)
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode("llama3", forKey: .type)
        try values.encode(factor, forKey: .factor)
        try values.encode(lowFrequencyFactor, forKey: .lowFrequencyFactor)
        try values.encode(highFrequencyFactor, forKey: .highFrequencyFactor)
        try values.encode(originalContext, forKey: .originalContext)
    }
}
