/// The members of a zip file that are stored as they are, which is all that PyTorch writes.
///
/// ### References
/// PKWARE, "APPNOTE.TXT – .ZIP File Format Specification" 6.3.10, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16, 4.5.3.
struct ZipDirectory {
    struct Member {
        let name: String
        /// Bytes of the contents.
        let byteCount: Int
        fileprivate let headerOffset: Int
        /// Nil when the contents are as they are, else how they are kept.
        fileprivate let obstacle: String?
    }

    let members: [String: Member]
    private let path: String
    private let file: any ReadableFile

    /// The most bytes of the list of members: a model has some thousands of tensors.
    private static let listLimit = 64 << 20
    private static let endSignature = 0x0605_4b50, locatorSignature = 0x0706_4b50, end64Signature = 0x0606_4b50
    private static let entrySignature = 0x0201_4b50, headerSignature = 0x0403_4b50
    static let firstBytes: [UInt8] = [0x50, 0x4b, 0x03, 0x04]

    init(_ file: any ReadableFile, path: String) throws {
        self.file = file
        self.path = path
        let list = try Self.findList(file, path)
        guard list.size <= Self.listLimit, list.offset >= 0, list.size >= 0, list.offset <= file.byteCount - list.size
        else { throw CheckpointError(path, "has a list of members of \(list.size) bytes at \(list.offset)") }
        let bytes = Bytes(try Self.read(file, path, at: list.offset, count: list.size))
        var members: [String: Member] = [:]
        var position = 0
        while position < bytes.count {
            guard position + 46 <= bytes.count, bytes.number(position, 4) == Self.entrySignature else {
                throw CheckpointError(path, "has a damaged list of members")
            }
            let lengths = [28, 30, 32].map { bytes.number(position + $0, 2) }
            let next = position + 46 + lengths.reduce(0, +)
            guard next <= bytes.count,
                let name = String(validating: bytes.values[position + 46..<position + 46 + lengths[0]], as: UTF8.self)
            else { throw CheckpointError(path, "has a damaged list of members") }
            let member = try Self.member(
                name, bytes, at: position, extra: position + 46 + lengths[0]..<position + 46 + lengths[0] + lengths[1],
                path)
            guard members.updateValue(member, forKey: name) == nil else {
                throw CheckpointError(path, "has the member \(name) twice")
            }
            position = next
        }
        self.members = members
    }

    private static func member(
        _ name: String, _ bytes: Bytes, at position: Int, extra: Range<Int>, _ path: String
    ) throws -> Member {
        var stored = bytes.number(position + 20, 4), size = bytes.number(position + 24, 4)
        var offset = bytes.number(position + 42, 4)
        var field = extra.lowerBound
        while field + 4 <= extra.upperBound {
            let length = bytes.number(field + 2, 2), end = field + 4 + length
            guard end <= extra.upperBound else { break }
            if bytes.number(field, 2) == 1 {
                // The numbers that do not fit above, in this order.
                var at = field + 4
                func long(_ value: inout Int) {
                    guard value == 0xFFFF_FFFF, at + 8 <= end else { return }
                    value = bytes.number(at, 8)
                    at += 8
                }
                long(&size)
                long(&stored)
                long(&offset)
            }
            field = end
        }
        let flags = bytes.number(position + 8, 2), method = bytes.number(position + 10, 2)
        let obstacle = flags & 1 != 0 ? "encrypted" : method != 0 || stored != size ? "compressed" : nil
        guard size >= 0, offset >= 0 else { throw CheckpointError(path, "has an impossible size for \(name)") }
        return Member(name: name, byteCount: size, headerOffset: offset, obstacle: obstacle)
    }

    /// Where the list of members is, from the record at the end of the file.
    private static func findList(_ file: any ReadableFile, _ path: String) throws -> (offset: Int, size: Int) {
        let tailCount = min(file.byteCount, 22 + 0xFFFF + 20)
        let start = file.byteCount - tailCount
        let tail = Bytes(try read(file, path, at: start, count: tailCount))
        guard let end = (0..<max(0, tailCount - 21)).last(where: { tail.number($0, 4) == endSignature }) else {
            throw CheckpointError(path, "ends before its list of members: it was cut off, or is no zip file")
        }
        let size = tail.number(end + 12, 4), offset = tail.number(end + 16, 4)
        guard end >= 20, tail.number(end - 20, 4) == locatorSignature else { return (offset, size) }
        let place = tail.number(end - 20 + 8, 8)
        guard place >= 0, place <= file.byteCount - 56 else { throw CheckpointError(path, "has a damaged end") }
        let record = Bytes(try read(file, path, at: place, count: 56))
        guard record.number(0, 4) == end64Signature else { throw CheckpointError(path, "has a damaged end") }
        return (record.number(48, 8), record.number(40, 8))
    }

    /// Where the contents of a member begin in the file.
    func offset(of member: Member) throws -> Int {
        if let obstacle = member.obstacle {
            throw CheckpointError(path, "has the \(obstacle) member \(member.name); PyTorch stores members as they are")
        }
        guard member.headerOffset <= file.byteCount - 30 else {
            throw CheckpointError(path, "ends before its member \(member.name)")
        }
        let header = Bytes(try Self.read(file, path, at: member.headerOffset, count: 30))
        let start = member.headerOffset + 30 + header.number(26, 2) + header.number(28, 2)
        guard header.number(0, 4) == Self.headerSignature, start <= file.byteCount - member.byteCount else {
            throw CheckpointError(path, "ends before its member \(member.name), or is damaged there")
        }
        return start
    }

    /// The contents of a small member.
    func contents(of member: Member, limit: Int) throws -> [UInt8] {
        guard member.byteCount <= limit else {
            throw CheckpointError(
                path, "has a member \(member.name) of \(member.byteCount) bytes; at most \(limit) are read")
        }
        return try Self.read(file, path, at: try offset(of: member), count: member.byteCount)
    }

    private static func read(_ file: any ReadableFile, _ path: String, at offset: Int, count: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            try file.readAll(
                UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count), at: offset, path: path)
            used = count
        }
    }

    /// Little-endian numbers.
    private struct Bytes {
        let values: [UInt8]
        var count: Int { values.count }

        init(_ values: [UInt8]) { self.values = values }

        func number(_ position: Int, _ width: Int) -> Int {
            var value: UInt64 = 0
            for index in (0..<width).reversed() { value = value << 8 | UInt64(values[position + index]) }
            return Int(truncatingIfNeeded: value)
        }
    }
}
