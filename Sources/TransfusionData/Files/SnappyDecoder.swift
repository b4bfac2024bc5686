/// Snappy's raw format, in which Parquet compresses its pages unless it is told otherwise.
///
/// ### References
/// google/snappy, format_description.txt
enum SnappyDecoder {
    /// - Parameters:
    ///   - bytes: A whole block.
    ///   - count: How many bytes it has to hold.
    /// - Returns: nil when it is damaged.
    static func decode(_ bytes: UnsafeRawBufferPointer, count: Int) -> [UInt8]? {
        var input = 0
        guard length(bytes, &input) == count else { return nil }
        var isWhole = false
        let result = [UInt8](unsafeUninitializedCapacity: count) { output, written in
            isWhole = decode(bytes, from: input, into: UnsafeMutableRawBufferPointer(output))
            written = isWhole ? count : 0
        }
        return isWhole ? result : nil
    }

    /// The length of what is compressed, seven bits a byte.
    private static func length(_ bytes: UnsafeRawBufferPointer, _ input: inout Int) -> Int? {
        var value = 0
        for shift in stride(from: 0, through: 28, by: 7) {
            guard input < bytes.count else { return nil }
            let byte = Int(bytes[input])
            input += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        return nil
    }

    private static func decode(
        _ bytes: UnsafeRawBufferPointer, from start: Int, into output: UnsafeMutableRawBufferPointer
    ) -> Bool {
        var input = start
        var written = 0
        func number(_ count: Int) -> Int? {
            guard count <= bytes.count - input else { return nil }
            defer { input += count }
            return (0..<count).reduce(0) { $0 | Int(bytes[input + $1]) << (8 * $1) }
        }
        while input < bytes.count {
            let tag = Int(bytes[input])
            input += 1
            if tag & 3 == 0 {
                var count = tag >> 2
                if count >= 60 {
                    guard let long = number(count - 59) else { return false }
                    count = long
                }
                count += 1
                guard count <= bytes.count - input, count <= output.count - written else { return false }
                UnsafeMutableRawBufferPointer(rebasing: output[written..<written + count])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[input..<input + count]))
                input += count
                written += count
                continue
            }
            guard let low = number(tag & 3 == 3 ? 4 : tag & 3) else { return false }
            let count = tag & 3 == 1 ? (tag >> 2 & 7) + 4 : tag >> 2 + 1
            let distance = tag & 3 == 1 ? (tag >> 5) << 8 | low : low
            guard distance > 0, distance <= written, count <= output.count - written else { return false }
            // What is copied may reach into what is being written.
            for place in written..<written + count { output[place] = output[place - distance] }
            written += count
        }
        return written == output.count
    }
}
