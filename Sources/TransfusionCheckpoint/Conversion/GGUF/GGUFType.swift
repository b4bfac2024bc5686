internal import TransfusionCore

/// The types of elements that GGUF files are written in.
public enum GGUFType: String, Sendable, CaseIterable {
    case f32
    case bf16
    case f16
    /// Signed bytes with a scale in f16 for each 32 of a row.
    case q8_0

    /// Elements that are stored together.
    static let blockLength = 32
    /// Bytes of a block of `q8_0`.
    private static let blockBytes = 2 + blockLength

    /// ggml's number of the type.
    var number: UInt32 {
        switch self {
        case .f32: 0
        case .f16: 1
        case .q8_0: 8
        case .bf16: 30
        }
    }

    /// llama.cpp's number of a file whose matrices are of the type (`general.file_type`).
    var fileNumber: Int {
        switch self {
        case .f32: 0
        case .f16: 1
        case .q8_0: 7
        case .bf16: 32
        }
    }

    /// The type of a tensor of a model: vectors stay f32, and so do rows that are not made of whole blocks.
    func ofTensor(_ shape: [Int]) -> GGUFType {
        shape.count < 2 || self == .q8_0 && shape[shape.count - 1] % Self.blockLength != 0 ? .f32 : self
    }

    func byteCount(_ elements: Int) -> Int {
        switch self {
        case .f32: elements * 4
        case .f16, .bf16: elements * 2
        case .q8_0: elements / Self.blockLength * Self.blockBytes
        }
    }

    /// The type that elements are converted to before they are stored.
    var element: ElementType {
        switch self {
        case .f32, .q8_0: .f32
        case .f16: .f16
        case .bf16: .bf16
        }
    }

    /// Blocks of `q8_0`, rounded as ggml's `quantize_row_q8_0_ref` rounds.
    /// - Returns: nil when a number is not finite, or too large for the scale.
    static func quantized(_ values: UnsafeBufferPointer<Float>) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(values.count / blockLength * blockBytes)
        for start in stride(from: 0, to: values.count, by: blockLength) {
            let block = values[start..<start + blockLength]
            let largest = block.reduce(0) { max($0, abs($1)) }
            let step = largest / 127
            guard block.allSatisfy(\.isFinite), Float16(step).isFinite else { return nil }
            // The inverse of the smallest steps is infinite; such numbers are 0 in f16, as their step is.
            let inverse = (1 / step).isFinite ? 1 / step : 0
            bytes.appendLittleEndian(Float16(step).bitPattern)
            for value in block {
                bytes.append(UInt8(bitPattern: Int8((value * inverse).rounded(.toNearestOrAwayFromZero))))
            }
        }
        return bytes
    }
}
