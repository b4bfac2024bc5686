internal import Glibc

/// The lines of a text file, without their ends (`\n` or `\r\n`) and without a byte order mark.
struct TextLines: Sequence, IteratorProtocol {
    struct Line {
        /// Counted from 1.
        let number: Int
        /// Where its bytes lie in the file.
        let range: Range<Int>
    }

    private let bytes: UnsafeRawBufferPointer
    private var start: Int
    private var number = 0

    /// - Parameter bytes: The file's contents, which must stay valid as long as lines are asked for.
    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    }

    mutating func next() -> Line? {
        guard start < bytes.count, let base = bytes.baseAddress else { return nil }
        let newline = memchr(base + start, 0x0A, bytes.count - start)
        let end = newline.map { UnsafeRawPointer($0) - base } ?? bytes.count
        let isCRLF = newline != nil && end > start && bytes[end - 1] == 0x0D
        defer { start = end + 1 }
        number += 1
        return Line(number: number, range: start..<(isCRLF ? end - 1 : end))
    }
}
