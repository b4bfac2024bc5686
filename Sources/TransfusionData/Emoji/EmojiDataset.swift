internal import TransfusionCore

/// Builds a data set of real image–caption pairs from the colour emoji font, Unicode's names and WordNet's definitions.
public struct EmojiDataset {
    /// Which emoji become pairs.
    public enum Subset: String, CaseIterable, Sendable {
        /// A colour and a shape: "red circle", "large blue diamond" …
        case shapes
        /// Faces of people, cats and monkeys.
        case faces
        /// Every emoji the font draws.
        case all
    }

    public var subset = Subset.shapes
    /// Pixels on a side.
    public var size = 32
    /// Names of emoji that go to the split `held_out` instead of `train`.
    public var heldOut: [String] = []
    /// Whether there are also edits: shapes in other colours, or people in other skin tones.
    public var hasEdits = false
    /// Pieces of the tokenizer to train.
    public var pieces = 1024
    /// A `.model` file to use instead of training a tokenizer.
    public var tokenizerPath: String?
    public var fontPath = EmojiFont.defaultPath
    public var namesPath = EmojiList.defaultPath
    public var wordNetDirectory = WordNet.defaultDirectory

    /// Combinations of known colours and known shapes that a model shall put together by itself.
    public static let defaultHeldOut = ["green square", "purple heart", "orange circle"]
    /// Of the text, and of the pairs of the larger subsets, one in so many is for validation.
    static let validationEvery = 50
    /// Of the recolourings that may be trained on, one in so many is for validation.
    static let validationEditEvery = 8

    public init(subset: Subset) {
        self.subset = subset
        pieces = subset == .shapes ? 1024 : 4096
        heldOut = subset == .shapes ? Self.defaultHeldOut : []
    }

    /// What was built, and what was left out and why.
    public struct Report: Codable, Sendable {
        public var path: String
        public var digest: String
        public var pairs: [String: Int]
        /// How many of the pairs are edits.
        public var edits: [String: Int]
        public var documents: [String: Int]
        public var captionTokens: Int
        public var textTokens: Int
        public var vocabulary: Int
        public var tokenizerDigest: String
        /// Emoji of the subset that the font has no picture for.
        public var withoutPicture: [String]
        /// Skin-tone variants whose base emoji is not in the data set.
        public var variantsWithoutBase: Int
        /// What the training of the tokenizer left out, cut or made smaller.
        public var tokenizerNotes: [String]
    }

    /// - Parameter progress: Told what is being done, how much of it is done, and of how much (0 when that is not known).
    public func build(
        at path: String, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void = { _, _, _ in }
    ) throws(DataError) -> Report {
        guard (8...128).contains(size) else {
            throw DataError(wrongUse: "--size: \(size) is outside 8 … 128, the size of the font's bitmaps")
        }
        let directory = try UnfinishedDirectory(path)
        let list = try EmojiList(namesPath)
        let chosen = list.emoji.indices.filter { !list.emoji[$0].hasSkinTone && belongs(list.emoji[$0]) }
        try checkHeldOut(chosen.map { list.emoji[$0].name })
        let font = try EmojiFont(fontPath)
        progress("reading the definitions", 0, 0)
        let texts = ExampleText.shuffled(try WordNet.texts(wordNetDirectory))

        let (pictures, withoutPicture) = try draw(chosen, list, font, progress)
        let edits = edits(of: pictures.keys.sorted(), list)
        progress("training the tokenizer", 0, 0)
        let (tokenizer, tokenizerNotes) = try ExampleText.tokenizer(
            tokenizerPath, captions: chosen.map { list.emoji[$0].name } + edits.map(\.instruction), texts,
            pieces: pieces)

        let writer = try DatasetWriter(
            directory, image: .init(channels: 3, height: size, width: size, element: .u8), tokenizer: tokenizer,
            description: "emoji (\(subset.rawValue)) of Noto Color Emoji with Unicode's names; text of WordNet")
        var pairOf: [Int: Int] = [:]
        let splits = splits(of: chosen.compactMap { index in pictures[index].map { (index, $0) } }, list)
        guard !splits[0].emoji.isEmpty else {
            throw DataError(
                wrongUse: "--hold-out: all other emoji look like those held out; hold out fewer names")
        }
        for split in splits {
            writer.beginSplit(split.name)
            for index in split.emoji {
                guard let picture = pictures[index] else { continue }
                let image = try writer.add(image: picture.planes)
                let emoji = list.emoji[index]
                pairOf[index] = try writer.addPair(key: emoji.key, caption: emoji.name, image: image)
            }
            try add(edits, of: split.name, splits, pictures, list, font, to: writer)
            for (place, text) in texts.enumerated() {
                let split = place % Self.validationEvery == Self.validationEvery - 1 ? "validation" : "train"
                if split == writer.currentSplit { try writer.addDocument(text) }
                if place % 1000 == 0 { progress("encoding \(split) text", place, texts.count) }
            }
        }
        let variantsWithoutBase = try addVariants(of: pairOf, list, font, to: writer)
        try writer.add(file: PackedDataset.FileName.sheet, contents: try sheet(of: splits, list, pictures))
        let manifest = try writer.finish(progress: progress)
        return Report(
            path: directory.place, digest: manifest.digest,
            pairs: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.pairs) }),
            edits: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.edits ?? 0) }),
            documents: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.documents) }),
            captionTokens: manifest.splits.reduce(0) { $0 + $1.captionTokens },
            textTokens: manifest.splits.reduce(0) { $0 + $1.textTokens }, vocabulary: tokenizer.vocabulary,
            tokenizerDigest: tokenizer.digest, withoutPicture: withoutPicture, variantsWithoutBase: variantsWithoutBase,
            tokenizerNotes: tokenizerNotes)
    }

    private func draw(
        _ chosen: [Int], _ list: EmojiList, _ font: EmojiFont,
        _ progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) -> (pictures: [Int: Picture], withoutPicture: [String]) {
        var withoutPicture: [String] = []
        var pictures: [Int: Picture] = [:]
        for (done, index) in chosen.enumerated() {
            if let picture = font.picture(of: list.emoji[index].scalars) {
                pictures[index] = fitted(picture)
            } else {
                withoutPicture.append(list.emoji[index].name)
            }
            progress("drawing", done + 1, chosen.count)
        }
        guard !pictures.isEmpty else { throw DataError(fontPath, "has a picture of no emoji of the subset") }
        return (pictures, withoutPicture)
    }

    /// The emoji of each split. Some, such as flags of islands, have the same picture as others: these go together.
    private func splits(of drawn: [(index: Int, picture: Picture)], _ list: EmojiList) -> [(name: String, emoji: [Int])]
    {
        let isHeldOut = { (index: Int) in heldOut.contains(list.emoji[index].name) }
        var splitOf: [[UInt8]: String] = [:]
        for (index, picture) in drawn where isHeldOut(index) { splitOf[picture.rgb] = "held_out" }
        var different = splitOf.count
        var emoji: [String: [Int]] = [:]
        for (index, picture) in drawn {
            var split = splitOf[picture.rgb]
            if split == nil {
                let isValidation = subset != .shapes && different % Self.validationEvery == Self.validationEvery - 1
                split = isValidation ? "validation" : "train"
                splitOf[picture.rgb] = split
                different += 1
            }
            emoji[split ?? "", default: []].append(index)
        }
        return ["train", "validation", "held_out"].map { ($0, emoji[$0] ?? []) }
    }

    private func edits(of drawn: [Int], _ list: EmojiList) -> [EmojiEdit] {
        guard hasEdits else { return [] }
        return subset == .shapes
            ? EmojiEdit.recolourings(of: drawn, list) : EmojiEdit.skinTones(of: drawn, list)
    }

    /// Adds the edits of a split: those from or to an emoji that is held out are held out, and skin tones go with their base.
    private func add(
        _ edits: [EmojiEdit], of split: String, _ splits: [(name: String, emoji: [Int])], _ pictures: [Int: Picture],
        _ list: EmojiList, _ font: EmojiFont, to writer: DatasetWriter
    ) throws(DataError) {
        var splitOf: [Int: String] = [:]
        for (name, emoji) in splits { for index in emoji { splitOf[index] = name } }
        var trained = 0
        for edit in edits {
            var own = splitOf[edit.original]
            if splitOf[edit.target] == "held_out" { own = "held_out" }
            if subset == .shapes, own == "train" {
                trained += 1
                if trained % Self.validationEditEvery == 0 { own = "validation" }
            }
            guard own == split, let original = pictures[edit.original],
                let target = pictures[edit.target] ?? font.picture(of: list.emoji[edit.target].scalars).map(fitted)
            else { continue }
            let originalImage = try writer.add(image: original.planes)
            try writer.addPair(
                key: "\(list.emoji[edit.original].name) → \(list.emoji[edit.target].name)", caption: edit.instruction,
                image: try writer.add(image: target.planes), original: originalImage)
        }
    }

    /// Skin tones get a split of their own, linked to their base, for learning to edit; `train` has none.
    private func addVariants(
        of pairOf: [Int: Int], _ list: EmojiList, _ font: EmojiFont, to writer: DatasetWriter
    ) throws(DataError) -> Int {
        writer.beginSplit("variants")
        var withoutBase = 0
        for emoji in list.emoji where emoji.hasSkinTone && belongs(emoji) {
            guard let base = list.base(of: emoji), let pair = pairOf[base],
                let picture = font.picture(of: emoji.scalars)
            else {
                withoutBase += 1
                continue
            }
            let image = try writer.add(image: fitted(picture).planes)
            try writer.addPair(key: emoji.key, caption: emoji.name, image: image, variantOf: pair)
        }
        return withoutBase
    }

    private func belongs(_ emoji: EmojiList.Emoji) -> Bool {
        switch subset {
        case .shapes: ShapeName(emoji.name) != nil
        case .faces:
            emoji.subgroup.hasPrefix("face-") || ["cat-face", "monkey-face"].contains(emoji.subgroup)
        case .all: true
        }
    }

    private func checkHeldOut(_ names: [String]) throws(DataError) {
        for name in heldOut where !names.contains(name) {
            throw DataError(wrongUse: "--hold-out: the subset \(subset.rawValue) has no emoji named \"\(name)\"")
        }
        guard Set(heldOut).count < names.count else {
            throw DataError(wrongUse: "--hold-out: nothing is left to train on; hold out fewer names")
        }
    }

    /// Centred on a white square and brought to the wanted size.
    private func fitted(_ picture: Picture) -> Picture {
        let side = max(picture.width, picture.height)
        var square = Picture(width: side, height: side)
        square.draw(picture, x: (side - picture.width) / 2, y: (side - picture.height) / 2)
        return square.resized(width: size, height: size, filter: .lanczos)
    }

    private func sheet(
        of splits: [(name: String, emoji: [Int])], _ list: EmojiList, _ pictures: [Int: Picture]
    ) throws(DataError) -> [UInt8] {
        let entries = splits.flatMap { split in
            split.emoji.prefix(split.name == "train" ? 96 : 24).compactMap { index in
                pictures[index].map { picture in
                    ContactSheet.Entry(
                        label: list.emoji[index].name, note: split.name == "train" ? nil : split.name,
                        pictures: [picture])
                }
            }
        }
        let sheet = try ContactSheet(entries: entries, columns: 8).render()
        return try PNG.encode(rgb: sheet.rgb, width: sheet.width, height: sheet.height)
    }
}
