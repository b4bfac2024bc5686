/// The members of a tar file, one after the other: POSIX ustar and pax, and GNU's long names and large sizes.
final class TarReader {
    struct Member: Equatable {
        enum Kind: Equatable {
            case file
            /// What has no bytes of its own, though another member may have them.
            case link
            /// Directories and devices.
            case other
        }

        let name: String
        let size: Int
        let kind: Kind
    }

    private let stream: ByteStream
    /// What is left of the last member, and what fills its last block.
    private var unread = 0
    /// How many bytes were read.
    private var place = 0
    /// What is passed over.
    private var scratch = [UInt8](repeating: 0, count: 1 << 16)
    private var padding = 0

    private static let blockSize = 512
    /// Of the headers that only say more about the next member.
    private static let longestHeader = 1 << 20

    init(_ path: String) throws(DataError) {
        stream = try ByteStream(path)
    }

    /// Goes to the next member, past what was not read of the last one.
    /// - Returns: Nil behind the last one.
    /// - Throws: `DataError` when the file is cut off or is no tar file.
    func next() throws(DataError) -> Member? {
        guard try skip(unread + padding) else { throw cutOff }
        unread = 0
        padding = 0
        var longName: String?
        var longSize: Int?
        while true {
            guard let header = try readHeader() else { return nil }
            let size = try Self.number(header[124..<136], in: self)
            let type = header[156]
            let isExtension = [UInt8(ascii: "x"), UInt8(ascii: "g"), UInt8(ascii: "L"), UInt8(ascii: "K")].contains(
                type)
            guard isExtension else {
                return begin(longName ?? Self.name(in: header), size: longSize ?? size, type: type)
            }
            let contents = try readExtension(size: size)
            if type == UInt8(ascii: "L") { longName = Self.text(contents[...]) }
            if type == UInt8(ascii: "x") {
                let records = try paxRecords(contents)
                if let path = records["path"] { longName = path }
                if let text = records["size"] {
                    guard let size = Int(text), size >= 0, size <= Self.largestSize else { throw damaged("a size") }
                    longSize = size
                }
            }
        }
    }

    private func begin(_ name: String, size: Int, type: UInt8) -> Member {
        let kind: Member.Kind =
            switch type {
            case 0, UInt8(ascii: "0"), UInt8(ascii: "7"): .file
            case UInt8(ascii: "1"), UInt8(ascii: "2"): .link
            default: .other
            }
        // A link may say how large the file is that it leads to.
        unread = kind == .link ? 0 : size
        padding = -unread & (Self.blockSize - 1)
        return Member(name: name, size: unread, kind: kind)
    }

    /// The bytes of the member that `next` gave. No room is made for bytes that are not there.
    func readContents() throws(DataError) -> [UInt8] {
        let count = unread
        unread = 0
        return try read(count)
    }

    private func read(_ count: Int) throws(DataError) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let start = bytes.count
            let part = min(count - start, max(1 << 16, start))
            bytes.append(contentsOf: repeatElement(0, count: part))
            let filled = try bytes.withMutableBytes { (memory) throws(DataError) in
                try stream.read(into: UnsafeMutableRawBufferPointer(rebasing: memory[start..<start + part]))
            }
            place += filled
            guard filled == part else { throw cutOff }
        }
        return bytes
    }

    /// - Returns: Whether there were as many bytes.
    private func skip(_ count: Int) throws(DataError) -> Bool {
        var left = count
        while left > 0 {
            let part = min(left, scratch.count)
            let filled = try scratch.withMutableBytes { (memory) throws(DataError) in
                try stream.read(into: UnsafeMutableRawBufferPointer(rebasing: memory[..<part]))
            }
            place += filled
            guard filled == part else { return false }
            left -= part
        }
        return true
    }

    private func readExtension(size: Int) throws(DataError) -> [UInt8] {
        guard size <= Self.longestHeader else { throw damaged("a header of \(size) bytes") }
        let contents = try read(size)
        guard try skip(-size & (Self.blockSize - 1)) else { throw cutOff }
        return contents
    }

    /// - Returns: Nil at the end, which is a block of zeros.
    private func readHeader() throws(DataError) -> [UInt8]? {
        let header = try read(Self.blockSize)
        if header.allSatisfy({ $0 == 0 }) {
            // More zeros, behind which a packed file has its checksum.
            _ = try skip(Self.longestHeader)
            return nil
        }
        let sum = header.enumerated().reduce(0) { $0 + (148..<156 ~= $1.offset ? 32 : Int($1.element)) }
        guard try Self.number(header[148..<156], in: self) == sum else { throw damaged("a checksum") }
        return header
    }

    private static let largestSize = 1 << 50

    /// Octal digits, or after a byte of 128 a binary number.
    private static func number(_ field: ArraySlice<UInt8>, in reader: TarReader) throws(DataError) -> Int {
        var value = 0
        if field[field.startIndex] == 0x80 {
            for byte in field.dropFirst() {
                guard value <= largestSize >> 8 else { throw reader.damaged("a number") }
                value = value << 8 | Int(byte)
            }
            return value
        }
        let digits = field.drop { $0 == 0x20 }.prefix { $0 != 0x20 && $0 != 0 }
        for digit in digits {
            guard 0x30..<0x38 ~= digit, value <= largestSize >> 3 else { throw reader.damaged("a number") }
            value = value << 3 | Int(digit - 0x30)
        }
        return value
    }

    private static func name(in header: [UInt8]) -> String {
        let name = text(header[0..<100])
        let prefix = header[257..<263].elementsEqual("ustar\0".utf8) ? text(header[345..<500]) : ""
        return prefix.isEmpty ? name : prefix + "/" + name
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }

    /// Records `LENGTH KEY=VALUE\n`, whose length counts all of it.
    private func paxRecords(_ bytes: [UInt8]) throws(DataError) -> [String: String] {
        var records: [String: String] = [:]
        var rest = bytes[...]
        while !rest.isEmpty {
            guard let space = rest.firstIndex(of: 0x20), let length = Int(Self.text(rest[..<space])),
                length > space - rest.startIndex + 1, length <= rest.count
            else { throw damaged("a header") }
            let record = rest[(space + 1)..<(rest.startIndex + length - 1)]
            guard let equals = record.firstIndex(of: UInt8(ascii: "=")) else { throw damaged("a header") }
            records[String(decoding: record[..<equals], as: UTF8.self)] = String(
                decoding: record[(equals + 1)...], as: UTF8.self)
            rest = rest.dropFirst(length)
        }
        return records
    }

    private var cutOff: DataError { DataError(stream.path, "is cut off; make it anew") }

    private func damaged(_ what: String) -> DataError {
        DataError(
            stream.path, "is no tar file or is damaged: \(what) before byte \(place) is wrong; make it anew")
    }
}
