internal import Glibc

/// The lines of a file, decompressed where it is compressed, without their ends (`\n` or `\r\n`) and without a byte order mark.
struct LineReader {
    private static let bufferBytes = 1 << 18

    let path: String
    private let stream: ByteStream
    private var buffer = [UInt8](repeating: 0, count: bufferBytes)
    private var range = 0..<0
    private var isAtEnd = false
    /// How many lines were read.
    private(set) var count = 0

    init(_ path: String) throws(DataError) {
        self.path = path
        stream = try ByteStream(path)
        try fill()
        if buffer[range].starts(with: [0xEF, 0xBB, 0xBF]) { range = range.dropFirst(3) }
    }

    private mutating func fill() throws(DataError) {
        let stream = stream
        let count = buffer.withUnsafeMutableBytes { bytes in
            Result { () throws(DataError) in try stream.read(into: bytes) }
        }
        range = 0..<(try count.get())
        isAtEnd = range.isEmpty
    }

    /// Appends the next line to `bytes`.
    /// - Parameter limit: How many bytes a line may have.
    /// - Returns: false at the end of the file.
    mutating func append(to bytes: inout [UInt8], limit: Int) throws(DataError) -> Bool {
        if range.isEmpty, !isAtEnd { try fill() }
        guard !range.isEmpty else { return false }
        count += 1
        let start = bytes.count
        while !range.isEmpty {
            let newline = buffer.withUnsafeBufferPointer { buffer -> Int? in
                guard let base = buffer.baseAddress else { return nil }
                return memchr(base + range.lowerBound, 0x0A, range.count).map {
                    UnsafeRawPointer($0) - UnsafeRawPointer(base)
                }
            }
            bytes.append(contentsOf: buffer[range.lowerBound..<(newline ?? range.upperBound)])
            guard bytes.count - start <= limit else {
                throw DataError("\(path):\(count)", "is a line of more than \(limit >> 20) MiB; cut it into several")
            }
            if let newline {
                range = newline + 1..<range.upperBound
                if bytes.count > start, bytes.last == 0x0D { bytes.removeLast() }
                return true
            }
            try fill()
        }
        return true
    }
}
