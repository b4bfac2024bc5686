internal import TransfusionCore

/// All pictures of an import with their captions, in the order in which the sources name them.
///
/// The texts lie on the disk; what stays in memory is some 30 bytes for each picture and caption.
final class PictureList {
    private let keys: TextSpool
    private let captions: TextSpool
    /// The picture of each caption, in the order in which the captions came.
    private var owners: [UInt32] = []
    /// The captions ordered by their pictures.
    private var order: [UInt32] = []
    /// The split that the source asks for, for each picture; empty when no source asks.
    private var splits: [UInt8] = []
    /// The original of each caption that is an instruction, in the order in which the captions came; empty without edits.
    private var originals: [UInt32] = []
    /// The pictures of edits.
    private var ofEdits: Set<UInt32> = []
    /// The original that each picture was first made of.
    private var firstOriginals: [UInt32: UInt32] = [:]
    /// Pictures of the sources that have no caption.
    var withoutCaption = 0
    /// Samples whose download failed, as their metadata say.
    var failedDownloads = 0
    /// Tells whether the files of the sources are still the same.
    private(set) var fingerprint = UInt128(0)

    /// What a source can ask for.
    static let splitNames = ["train", "validation", "held_out"]

    /// - Parameters:
    ///   - directory: Where keys and captions lie meanwhile.
    ///   - suffix: Follows on the names of their files.
    init(spools directory: String, suffix: String = "") throws(DataError) {
        keys = try TextSpool("\(directory)/keys\(suffix)\(UnfinishedDirectory.temporary)")
        captions = try TextSpool("\(directory)/captions\(suffix)\(UnfinishedDirectory.temporary)")
    }

    var count: Int { keys.count }
    var captionCount: Int { captions.count }

    /// - Parameters:
    ///   - key: What the picture's pairs are called.
    ///   - split: The split that they go to; nil to choose by the number of the image.
    /// - Returns: The picture's number.
    func addPicture(key: String, split: String? = nil) throws(DataError) -> Int {
        guard keys.count < Int(UInt32.max) else { throw DataError(key, "is one picture more than the format holds") }
        if let split, let number = Self.splitNames.firstIndex(of: split) {
            splits += repeatElement(UInt8.max, count: keys.count - splits.count)
            splits.append(UInt8(number))
        }
        try keys.append(key)
        return keys.count - 1
    }

    func addCaption(_ caption: String, of picture: Int) throws(DataError) {
        guard captions.count < Int(UInt32.max) else {
            throw DataError(keys.count > 0 ? "caption" : caption, "is one more than the format holds")
        }
        try captions.append(caption)
        owners.append(UInt32(picture))
    }

    /// An instruction that changes one picture into another.
    func addEdit(_ instruction: String, of original: Int, to picture: Int) throws(DataError) {
        originals += repeatElement(Self.noOriginal, count: captions.count - originals.count)
        try addCaption(instruction, of: picture)
        originals.append(UInt32(original))
        ofEdits.formUnion([UInt32(original), UInt32(picture)])
        if firstOriginals[UInt32(picture)] == nil { firstOriginals[UInt32(picture)] = UInt32(original) }
    }

    private static let noOriginal = UInt32.max

    /// Takes a file of a source into the fingerprint: its name, size and time.
    func note(_ path: String) {
        let stamp = Files.stamp(path) + [UInt8](path.utf8)
        let bytes = withUnsafeBytes(of: fingerprint) { [UInt8]($0) } + stamp
        fingerprint = bytes.withUnsafeBytes { SHA256.shortDigest($0) }
    }

    /// No more pictures come.
    func close() throws(DataError) {
        try keys.close()
        try captions.close()
        note(keys)
        note(captions)
        order = Array(0..<UInt32(owners.count))
        // Of one picture in the order in which they came.
        let isOrdered = zip(owners, owners.dropFirst()).allSatisfy { $0 <= $1 }
        if !isOrdered { order.sort { (owners[Int($0)], $0) < (owners[Int($1)], $1) } }
    }

    private func note(_ spool: TextSpool) {
        let digest = SHA256.shortDigest(spool.contents.bytes)
        let bytes = [fingerprint, digest].withUnsafeBytes { [UInt8]($0) }
        fingerprint = bytes.withUnsafeBytes { SHA256.shortDigest($0) }
    }

    /// The number of the picture of the caption at a place among all captions, which are ordered by their pictures.
    func picture(at place: Int) -> Int { Int(owners[Int(order[place])]) }

    func caption(at place: Int) -> String { captions[Int(order[place])] }

    /// The picture that the caption at a place changes; nil for a caption that is no instruction.
    func original(at place: Int) -> Int? {
        let number = Int(order[place])
        guard number < originals.count, originals[number] != Self.noOriginal else { return nil }
        return Int(originals[number])
    }

    func isOfEdit(_ picture: Int) -> Bool { ofEdits.contains(UInt32(picture)) }

    /// The original that a picture was first made of; nil for one that no edit makes.
    func original(of picture: Int) -> Int? { firstOriginals[UInt32(picture)].map(Int.init) }

    func key(of picture: Int) -> String { keys[picture] }

    /// The split that the source asks for.
    func split(of picture: Int) -> String? {
        guard picture < splits.count, splits[picture] != UInt8.max else { return nil }
        return Self.splitNames[Int(splits[picture])]
    }

    /// Offers all captions to a tokenizer's training.
    func addCaptions(to corpus: inout TokenizerCorpus) {
        corpus.add(captions.contents, parts: (0..<captions.count).lazy.map { self.captions.range($0) })
    }
}
