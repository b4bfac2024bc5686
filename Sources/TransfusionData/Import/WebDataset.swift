internal import TransfusionCore
internal import TransfusionSupport

/// Shards of a WebDataset: tar files, perhaps packed, whose members of one name up to the first dot are a sample. It has a picture,
/// and its caption as `.txt` or in a `.json`, as img2dataset writes them.
final class WebDataset: PictureSource {
    let name: String
    private let prefix: String
    private let captionKeys: CaptionKeys
    private let shards: [String]
    private var samples: SequentialPictures<Reader>

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
        let found = shards
        self.shards = found
        samples = SequentialPictures { (shard) throws(DataError) in try Reader(found[shard]) }
    }

    private static func shards(in name: String) throws(DataError) -> [String] {
        guard Files.isDirectory(name) else { return [name] }
        let shards = Files.entries(in: name).filter { entry in
            entry.kind == .other && [".tar", ".tar.gz", ".tgz", ".tar.zst"].contains { entry.name.hasSuffix($0) }
        }
        guard !shards.isEmpty else { throw DataError(name, "has no .tar, .tar.gz or .tar.zst in it") }
        return shards.map { name + "/" + $0.name }.sorted()
    }

    struct Sample {
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
            list.note(shard)
            samples.listFile(bad: bad) { (sample) throws(DataError) in
                defer { progress("looking at the pictures of \(shard), sample", keys.count, 0) }
                let digest = Array(sample.key.utf8).withUnsafeBytes { SHA256.shortDigest($0) }
                guard keys.insert(digest).inserted else {
                    throw DataError(
                        sample.place, "comes twice: its members do not lie together; sort the shard by name")
                }
                return try add(sample, to: list)
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
            throw DataError(sample.place, "has no .png, .jpg, .jpeg, .webp or .gif; take it out of the shard")
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
        try samples.forEach(from: first) { (picture) throws(DataError) in try body(.success(picture)) }
    }

    /// The samples of a shard, one after the other.
    struct Reader: SampleReader {
        private let shard: String
        private let tar: TarReader
        /// The first member of the next sample, whose contents have not been read.
        private var first: (member: TarReader.Member, key: String, type: String)?
        private var isAtEnd = false

        init(_ shard: String) throws(DataError) {
            self.shard = shard
            tar = try TarReader(shard)
        }

        static func picture(of sample: Sample) -> PictureBytes? { sample.picture }

        mutating func next() throws(DataError) -> Sample? {
            var sample: Sample?
            if let (member, key, type) = first {
                first = nil
                var begun = Sample(key: key, shard: shard)
                try read(member, type, into: &begun)
                sample = begun
            }
            while !isAtEnd {
                guard let member = try tar.next() else {
                    isAtEnd = true
                    break
                }
                guard member.kind != .other, let (key, type) = WebDataset.parts(of: member.name) else { continue }
                if let sample, sample.key != key {
                    first = (member, key, type)
                    return sample
                }
                var current = sample ?? Sample(key: key, shard: shard)
                sample = nil
                try read(member, type, into: &current)
                sample = current
            }
            return sample
        }

        private func read(
            _ member: TarReader.Member, _ type: String, into sample: inout Sample
        ) throws(DataError) {
            let name = "\(sample.place).\(type)"
            let isPicture = PictureFolder.extensions.contains(type)
            guard isPicture || type == "txt" || type == "json" else { return }
            guard member.kind == .file else {
                sample.problem = DataError(
                    name, "is a link; make the shard with the files themselves (tar --dereference)")
                return
            }
            guard sample.extensions.insert(type).inserted, !isPicture || sample.picture == nil else {
                sample.problem = DataError(name, "is one too many: a sample has one picture and one caption")
                return
            }
            guard member.size <= (isPicture ? PictureFile.largestFile : WebDataset.longestText) else {
                sample.problem = DataError(name, "has \(member.size) bytes, more than are read; make it smaller")
                return
            }
            let contents = try tar.readContents()
            switch type {
            case "txt": sample.text = contents
            case "json": sample.metadata = contents
            default: sample.picture = PictureBytes(name: name, storage: .memory(contents))
            }
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
