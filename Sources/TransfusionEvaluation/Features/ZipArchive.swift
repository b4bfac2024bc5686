internal import CDeflate
import TransfusionConfig
import TransfusionData

/// The files in a zip archive, as numpy writes them: stored or deflated, without encryption, below 4 GiB.
///
/// ### References
/// PKWARE, APPNOTE.TXT - .ZIP File Format Specification, sections 4.3.7, 4.3.12 and 4.3.16.
struct ZipArchive {
    struct Entry {
        let name: String
        fileprivate let method: UInt16
        fileprivate let checksum: UInt32
        fileprivate let storedCount: Int
        let count: Int
        fileprivate let headerOffset: Int
    }

    let path: String
    let entries: [Entry]
    private let bytes: [UInt8]

    /// - Throws: `CommandFailure` that names the file when it is no archive.
    init(_ path: String, limit: Int) throws {
        let bytes = try Files.read(path, limit: limit)
        // The directory is found from the end, behind which a comment of up to 64 KiB may stand.
        let endSignature: [UInt8] = [0x50, 0x4B, 5, 6]
        let last = bytes.count - 22
        guard last >= 0,
            let end = stride(from: last, through: max(0, last - 0xFFFF), by: -1).first(where: {
                bytes[$0] == 0x50 && Array(bytes[$0..<$0 + 4]) == endSignature
            })
        else { throw CommandFailure("\(path): is no .npz archive") }
        let count = Int(Self.integer(bytes, end + 10, as: UInt16.self))
        var place = Int(Self.integer(bytes, end + 16, as: UInt32.self))
        var entries: [Entry] = []
        for _ in 0..<count {
            guard place + 46 <= end, Array(bytes[place..<place + 4]) == [0x50, 0x4B, 1, 2] else {
                throw CommandFailure("\(path): its directory is damaged, or it is larger than 4 GiB")
            }
            func short(_ offset: Int) -> Int { Int(Self.integer(bytes, place + offset, as: UInt16.self)) }
            func long(_ offset: Int) -> UInt32 { Self.integer(bytes, place + offset, as: UInt32.self) }
            let next = place + 46 + short(28) + short(30) + short(32)
            guard next <= end else { throw CommandFailure("\(path): its directory is damaged") }
            let name = String(decoding: bytes[place + 46..<place + 46 + short(28)], as: UTF8.self)
            guard short(8) & 1 == 0 else { throw CommandFailure("\(path): \(name) is encrypted") }
            entries.append(
                Entry(
                    name: name, method: UInt16(short(10)), checksum: long(16), storedCount: Int(long(20)),
                    count: Int(long(24)), headerOffset: Int(long(42))))
            place = next
        }
        self.path = path
        self.entries = entries
        self.bytes = bytes
    }

    private static func integer<Integer: FixedWidthInteger>(
        _ bytes: [UInt8], _ offset: Int, as type: Integer.Type
    ) -> Integer {
        bytes.withUnsafeBytes { Integer(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
    }

    /// The contents of a file.
    /// - Throws: `CommandFailure` that names archive and file when they are damaged.
    func contents(_ entry: Entry) throws -> [UInt8] {
        func damaged(_ problem: String) -> CommandFailure {
            CommandFailure("\(path): \(entry.name) \(problem); write the archive again")
        }
        let header = entry.headerOffset
        guard header >= 0, header + 30 <= bytes.count, Array(bytes[header..<header + 4]) == [0x50, 0x4B, 3, 4] else {
            throw damaged("is not where the directory says")
        }
        let start =
            header + 30 + Int(Self.integer(bytes, header + 26, as: UInt16.self))
            + Int(Self.integer(bytes, header + 28, as: UInt16.self))
        guard start + entry.storedCount <= bytes.count else { throw damaged("ends too early") }
        let stored = bytes[start..<start + entry.storedCount]
        let contents: [UInt8]
        switch entry.method {
        case 0:
            guard entry.storedCount == entry.count else { throw damaged("has two sizes") }
            contents = Array(stored)
        case 8:
            // Nothing deflates to less than a thousandth, so that no small file asks for much memory.
            guard entry.count <= entry.storedCount * 1032 + 64,
                let inflated = stored.withUnsafeBytes({ BlockDecompression.deflate($0, count: entry.count) })
            else { throw damaged("cannot be inflated") }
            contents = inflated
        default: throw damaged("is compressed by method \(entry.method), neither stored nor deflated")
        }
        guard libdeflate_crc32(0, contents, contents.count) == entry.checksum else {
            throw damaged("has another checksum than the directory says")
        }
        return contents
    }
}
