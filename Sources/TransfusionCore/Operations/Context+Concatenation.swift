internal import Glibc

extension Context {
    /// The channels of several tensors side by side.
    ///
    /// - Parameter parts: `[…, channels of the part]` in the context's type; all but the channels are equal.
    /// - Returns: `[…, channels of all]`, in the order of the parts.
    package func concatenated(_ parts: [Tensor]) -> Tensor {
        let leading = parts[0].shape.dropLast(), rows = parts[0].rows
        precondition(parts.allSatisfy { $0.shape.dropLast() == leading && $0.type == type }, "parts of other shapes")
        let y = empty(leading + [parts.reduce(0) { $0 + $1.width }])
        copyChannels(of: y, parts, rows: rows) { whole, part, count in memcpy(whole, part, count) }
        return record(y) { [self] dy, gradients in
            let slices = parts.map { empty($0.shape) }
            copyChannels(of: dy, slices, rows: rows) { whole, part, count in memcpy(part, whole, count) }
            for (part, slice) in zip(parts, slices) { gradients.add(slice, to: part) }
        }
    }

    /// Lets `copy` move the bytes of each row between a tensor and the parts that lie side by side in it.
    private func copyChannels(
        of whole: Tensor, _ parts: [Tensor], rows: Int,
        _ copy: (_ whole: UnsafeMutableRawPointer, _ part: UnsafeMutableRawPointer, _ count: Int) -> Void
    ) {
        compute {
            guard rows > 0 else { return }
            let stride = whole.width * type.byteCount
            var start = whole.bytes.baseAddress!
            for part in parts {
                let count = part.width * type.byteCount, from = part.bytes.baseAddress!
                for row in 0..<rows { copy(start + row * stride, from + row * count, count) }
                start += count
            }
        }
    }
}
