internal import TransfusionCore
internal import TransfusionSupport

/// Shards of a WebDataset: tar files, perhaps packed, whose members of one name up to the first dot are a sample. It has a picture,
/// and its caption as `.txt` or in a `.json`, as img2dataset writes them.
final class WebDataset: PictureSource {
    let name: String
    private let prefix: String
    private let captionKeys: CaptionKeys
    private let shards: [String]
    /// Whether each sample can be used, shard after shard.
    private var isUsable: [Bool] = []
    /// Where the samples of each shard begin among them.
    private var starts: [Int] = []
    /// Shards that cannot be read to their end.
    private var damaged: Set<String> = []

    /// Longer texts and metadata of a sample are refused.
    private static let longestText = 1 << 20

    /// - Parameter pattern: A shard, a brace list of shards, or a directory of shards.
    init(_ pattern: String, prefix: String, captionKeys: CaptionKeys) throws(DataError) {
        name = pattern
        self.prefix = prefix
        self.captionKeys = captionKeys
        var shards: [String] = []
        for name in try BraceList.names(of: pattern, option: "--webdataset") {
            shards += try Self.shards(in: Paths.withoutTrailingSlash(name))
        }
        self.shards = shards
    }

    private static func shards(in name: String) throws(DataError) -> [String] {
        guard Files.isDirectory(name) else { return [name] }
        let shards = Files.entries(in: name).filter { entry in
            entry.kind == .other && [".tar", ".tar.gz", ".tgz", ".tar.zst"].contains { entry.name.hasSuffix($0) }
        }
        guard !shards.isEmpty else { throw DataError(name, "has no .tar, .tar.gz or .tar.zst in it") }
        return shards.map { name + "/" + $0.name }.sorted()
    }

    private struct Sample {
        let key: String
        /// For errors.
        let place: String
        var picture: PictureBytes?
        var text: [UInt8]?
        var metadata: [UInt8]?
        var extensions: Set<String> = []
        var problem: DataError?

        init(key: String, shard: String) {
            self.key = key
            place = "\(shard): sample \(key)"
        }
    }

    func list(
        to list: PictureList, bad: BadInput, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        let before = (list.captionCount, list.failedDownloads, bad.count)
        for shard in shards {
            var keys: Set<UInt128> = []
            starts.append(isUsable.count)
            list.note(shard)
            do throws(DataError) {
                try forEachSample(of: shard) { (sample) throws(DataError) in
                    do throws(DataError) {
                        let digest = Array(sample.key.utf8).withUnsafeBytes { SHA256.shortDigest($0) }
                        guard keys.insert(digest).inserted else {
                            throw DataError(
                                sample.place, "comes twice: its members do not lie together; sort the shard by name")
                        }
                        isUsable.append(try add(sample, to: list))
                    } catch {
                        isUsable.append(false)
                        bad.add(error)
                    }
                    progress("looking at the pictures of \(shard), sample", keys.count, 0)
                    return true
                }
            } catch {
                damaged.insert(shard)
                bad.add(error)
            }
        }
        guard before != (list.captionCount, list.failedDownloads, bad.count) else {
            throw DataError(name, "has no sample in it")
        }
    }

    /// - Returns: Whether there is anything in it to use.
    private func add(_ sample: Sample, to list: PictureList) throws(DataError) -> Bool {
        if let problem = sample.problem { throw problem }
        var metadata = CaptionKeys.Members()
        if let json = sample.metadata {
            do throws(JSONReader.Problem) {
                metadata = try json.withBytes { (bytes) throws(JSONReader.Problem) in
                    try captionKeys.members(of: bytes, and: ["status"])
                }
            } catch {
                throw DataError(sample.place + ".json", error.description)
            }
        }
        if let status = metadata.texts["status"], status != "success" {
            list.failedDownloads += 1
            return false
        }
        guard let picture = sample.picture else {
            throw DataError(sample.place, "has no .png, .jpg, .jpeg or .webp; take it out of the shard")
        }
        guard let captions = try captions(of: sample, metadata) else {
            list.withoutCaption += 1
            return false
        }
        let key = try PictureFolder.inside(sample.key, place: sample.place)
        try picture.check()
        let number = try list.addPicture(key: prefix + key)
        for caption in captions { try list.addCaption(caption, of: number) }
        return true
    }

    private func captions(of sample: Sample, _ metadata: CaptionKeys.Members) throws(DataError) -> [String]? {
        guard !captionKeys.isGiven, let bytes = sample.text else { return metadata.captions }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw DataError(sample.place + ".txt", "is not UTF-8 text")
        }
        return [Captions.trimmed(text)]
    }

    func forEachPicture(
        from first: Int, _ body: (Result<PictureBytes, DataError>) throws(DataError) -> Bool
    ) throws(DataError) {
        var left = first
        for (shard, samples) in zip(shards, isUsable.parts(from: starts)) {
            let usable = samples.count { $0 }
            guard left < usable else {
                left -= usable
                continue
            }
            var number = samples.startIndex
            var failure: DataError?
            var goesOn = true
            do throws(DataError) {
                try forEachSample(of: shard) { (sample) throws(DataError) in
                    defer { number += 1 }
                    guard number < samples.endIndex, samples[number], let picture = sample.picture else { return true }
                    guard left == 0 else {
                        left -= 1
                        return true
                    }
                    do throws(DataError) {
                        goesOn = try body(.success(picture))
                        return goesOn
                    } catch {
                        failure = error
                        throw error
                    }
                }
            } catch {
                // That it is damaged was told before.
                guard failure == nil, damaged.contains(shard) else { throw error }
            }
            guard goesOn else { return }
        }
    }

    /// - Parameter body: Says whether to go on.
    private func forEachSample(
        of shard: String, _ body: (Sample) throws(DataError) -> Bool
    ) throws(DataError) {
        let reader = try TarReader(shard)
        var sample: Sample?
        while let member = try reader.next() {
            guard member.kind != .other, let (key, type) = Self.parts(of: member.name) else { continue }
            if sample?.key != key {
                if let sample, try !body(sample) { return }
                sample = nil
            }
            var current = sample ?? Sample(key: key, shard: shard)
            sample = nil
            try read(member, type, of: reader, into: &current)
            sample = current
        }
        if let sample { _ = try body(sample) }
    }

    private func read(
        _ member: TarReader.Member, _ type: String, of reader: TarReader, into sample: inout Sample
    ) throws(DataError) {
        let name = "\(sample.place).\(type)"
        let isPicture = PictureFolder.extensions.contains(type)
        guard isPicture || type == "txt" || type == "json" else { return }
        guard member.kind == .file else {
            sample.problem = DataError(name, "is a link; make the shard with the files themselves (tar --dereference)")
            return
        }
        guard sample.extensions.insert(type).inserted, !isPicture || sample.picture == nil else {
            sample.problem = DataError(name, "is one too many: a sample has one picture and one caption")
            return
        }
        guard member.size <= (isPicture ? PictureFile.largestFile : Self.longestText) else {
            sample.problem = DataError(name, "has \(member.size) bytes, more than are read; make it smaller")
            return
        }
        let contents = try reader.readContents()
        switch type {
        case "txt": sample.text = contents
        case "json": sample.metadata = contents
        default: sample.picture = PictureBytes(name: name, storage: .memory(contents))
        }
    }

    /// The name up to the first dot of its last part, and what follows in lower case; nil for what belongs to no sample.
    private static func parts(of name: String) -> (key: String, type: String)? {
        var name = name[...]
        while name.hasPrefix("./") { name = name.dropFirst(2) }
        let start = name.lastIndex(of: "/").map { name.index(after: $0) } ?? name.startIndex
        guard let dot = name[start...].firstIndex(of: "."), dot > start, !name[start...].hasPrefix("__") else {
            return nil
        }
        return (String(name[..<dot]), name[name.index(after: dot)...].lowercased())
    }
}
