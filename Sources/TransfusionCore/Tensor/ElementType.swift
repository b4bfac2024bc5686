/// The type of a tensor's elements, in memory and in files.
public enum ElementType: String, Sendable, Codable, CaseIterable {
    case f32
    case bf16
    case f16
    case i32
    case i64
    case u8

    /// Bytes of one element.
    public var byteCount: Int {
        switch self {
        case .i64: 8
        case .f32, .i32: 4
        case .bf16, .f16: 2
        case .u8: 1
        }
    }
}

/// A 16-bit float with the exponent range of `Float`: the upper half of its bits.
@frozen
public struct BFloat16: BitwiseCopyable, Sendable, Hashable {
    public var bits: UInt16

    @inlinable
    public init(bits: UInt16) {
        self.bits = bits
    }

    /// Rounds to nearest, ties to even; NaN stays NaN.
    @inlinable
    public init(_ value: Float) {
        let wide = value.bitPattern
        if value.isNaN {
            bits = UInt16(truncatingIfNeeded: wide >> 16) | 0x40
        } else {
            bits = UInt16(truncatingIfNeeded: (wide &+ 0x7FFF &+ ((wide >> 16) & 1)) >> 16)
        }
    }

    @inlinable
    public var float: Float {
        Float(bitPattern: UInt32(bits) << 16)
    }
}
