internal import Foundation
internal import TransfusionSupport

/// Where the processes of one import take work and leave what they made of it: in the directory of the unfinished data set.
///
/// The first process needs everything in order. Others do what comes later, piece by piece, and leave it for the first. A piece is
/// claimed by a lock on a file, which the kernel gives back with the process: what a dead process had claimed is done by another.
final class ImportExchange {
    enum Work: String {
        case pictures
        case texts
    }

    /// What was made of the pictures of a unit.
    struct PicturePart: Codable {
        /// One after the other, without those that cannot be read.
        var planes = Data()
        /// Why one cannot be read, by its place in the unit.
        var problems: [Int: String] = [:]
        var count = 0
    }

    /// What was made of a batch of texts.
    struct TextPart: Codable {
        /// Tokens of the texts that are some, one after the other, as they are stored.
        var tokens = Data()
        /// Which text of the batch each is, and how many bytes its tokens have.
        var entries: [Int] = []
        var lengths: [Int] = []
        var problems: [String] = []
        var empty = 0
        /// 16 bytes each.
        var digests = Data()
    }

    /// How far ahead of the first process others work; it bounds what lies on the disk.
    static let window = 32

    private let directory: String
    private let fingerprint: String
    /// What the first process has claimed or used since it last said how far it is.
    private var claims: [FileLock] = []
    private var used: [(Work, Int)] = []

    init(_ directory: String, fingerprint: String) {
        self.directory = directory
        self.fingerprint = fingerprint
    }

    private func path(_ work: Work, _ number: Int, _ kind: String) -> String {
        "\(directory)/\(work.rawValue)-\(fingerprint)-\(number).\(kind)\(UnfinishedDirectory.temporary)"
    }

    func hasPart(_ work: Work, _ number: Int) -> Bool { Files.exists(path(work, number, "part")) }

    /// - Returns: nil when nobody has left it.
    private func part<Part: Decodable>(_ work: Work, _ number: Int, _ type: Part.Type) throws(DataError) -> Part? {
        let path = path(work, number, "part")
        guard Files.exists(path) else { return nil }
        let bytes = try Files.read(path, limit: Int(UInt32.max))
        do {
            return try PropertyListDecoder().decode(type, from: Data(bytes))
        } catch {
            throw DataError(path, "is damaged; remove its directory to begin anew")
        }
    }

    func leave(_ part: some Encodable, _ work: Work, _ number: Int) throws(DataError) {
        let path = path(work, number, "part")
        let encoder = PropertyListEncoder()
        encoder.outputFormat = .binary
        do {
            let bytes = try encoder.encode(part)
            try Files.write([UInt8](bytes), to: path)
        } catch {
            throw error as? DataError ?? DataError(path, "cannot be encoded: \(error)")
        }
    }

    /// - Returns: nil when another process has it.
    func claim(_ work: Work, _ number: Int) throws(DataError) -> FileLock? {
        let path = path(work, number, "lock")
        if FileLock.isTaken(path) { return nil }
        do throws(FileFailure) {
            return try FileLock.take(path)
        } catch {
            throw DataError(
                "\(error.description); several processes need a directory with locks: give another --out, or run one")
        }
    }

    // MARK: - The first process

    /// Waits until the next piece of the first process is there.
    /// - Returns: nil when it has to make it itself, which no other process will do meanwhile.
    func next<Part: Decodable>(_ work: Work, _ number: Int, _ type: Part.Type) throws(DataError) -> Part? {
        used.append((work, number))
        while true {
            if let part = try part(work, number, type) { return part }
            if let claim = try claim(work, number) {
                // It may have been left between the two looks.
                if let part = try part(work, number, type) { return part }
                claims.append(claim)
                return nil
            }
            usleep(5000)
        }
    }

    /// Takes away what was used, after the others can see that it was. The last piece may still be in use.
    func forgetUsed() {
        let last = used.last
        for (work, number) in used.dropLast() {
            unlink(path(work, number, "part"))
            unlink(path(work, number, "lock"))
        }
        used = last.map { [$0] } ?? []
        claims = claims.suffix(1)
    }
}
