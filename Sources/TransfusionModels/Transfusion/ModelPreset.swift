/// The sizes of the paper's Table 2, and one for a laptop.
public enum ModelPreset: String, Sendable, CaseIterable {
    case tiny
    case size0_16B = "0.16b"
    case size0_37B = "0.37b"
    case size0_76B = "0.76b"
    case size1_4B = "1.4b"
    case size7B = "7b"

    public var sizes: (layers: Int, width: Int, heads: Int, feedForward: Int) {
        switch self {
        case .tiny: (4, 256, 4, 688)
        case .size0_16B: (16, 768, 12, 2048)
        case .size0_37B: (24, 1024, 16, 2816)
        case .size0_76B: (24, 1536, 24, 4096)
        case .size1_4B: (24, 2048, 16, 5632)
        case .size7B: (32, 4096, 32, 11008)
        }
    }
}
