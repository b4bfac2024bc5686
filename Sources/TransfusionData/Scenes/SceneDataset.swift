internal import TransfusionCore

/// Builds a data set of scenes of coloured shapes, whose captions say what is in them, and how many, in which colours, and where.
public struct SceneDataset {
    /// Scenes to train on.
    public var scenes = 4000
    /// Pixels on a side.
    public var size = 32
    /// Pieces of the tokenizer to train.
    public var pieces = 1024
    /// A `.model` or `tokenizer.json` to use instead of training one.
    public var tokenizerPath: String?
    public var wordNetDirectory = WordNet.defaultDirectory

    /// Of all captions, one in so many is held out.
    private static let heldOutEvery: UInt128 = 8
    /// Of the text, and scenes for validation for so many to train on.
    private static let validationEvery = 50
    /// Captions that are held out for so many scenes to train on.
    private static let heldOutShare = 20

    public init() {}

    /// What was built.
    public struct Report: Codable, Sendable {
        public var path: String
        public var digest: String
        public var pairs: [String: Int]
        public var documents: [String: Int]
        public var captionTokens: Int
        public var textTokens: Int
        public var vocabulary: Int
        public var tokenizerDigest: String
        /// What the training of the tokenizer left out, cut or made smaller.
        public var tokenizerNotes: [String]
    }

    /// A caption, and the number that its picture is drawn from.
    private struct Entry {
        let description: SceneDescription
        let seed: UInt64
        let index: Int
    }

    /// - Parameter progress: Told what is being done, how much of it is done, and of how much (0 when that is not known).
    public func build(
        at path: String, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void = { _, _, _ in }
    ) throws(DataError) -> Report {
        guard (Scene.smallestSize...256).contains(size) else {
            throw DataError(wrongUse: "--size: \(size) is outside \(Scene.smallestSize) … 256")
        }
        guard (1...1_000_000).contains(scenes) else {
            throw DataError(wrongUse: "--scenes: \(scenes) is outside 1 … 1000000")
        }
        let directory = try UnfinishedDirectory(path)
        progress("reading the definitions", 0, 0)
        let texts = ExampleText.shuffled(try WordNet.texts(wordNetDirectory))
        let splits = Self.splits(scenes)
        progress("training the tokenizer", 0, 0)
        let captions = Set(splits.flatMap(\.entries).map(\.description.caption)).sorted()
        let (tokenizer, notes) = try ExampleText.tokenizer(tokenizerPath, captions: captions, texts, pieces: pieces)
        let writer = try DatasetWriter(
            directory, image: .init(channels: 3, height: size, width: size, element: .u8), tokenizer: tokenizer,
            description: "scenes of coloured shapes; text of WordNet")
        var sheet: [ContactSheet.Entry] = []
        for split in splits {
            writer.beginSplit(split.name)
            for (place, entry) in split.entries.enumerated() {
                let picture = Scene(entry.description, size: size, seed: entry.seed, index: entry.index).picture
                let caption = entry.description.caption
                try writer.addPair(
                    key: "\(split.name) \(place)", caption: caption, image: try writer.add(image: picture.planes))
                if place < (split.name == "train" ? 64 : 16) {
                    let note = split.name == "train" ? nil : split.name
                    sheet.append(.init(label: caption, note: note, pictures: [picture]))
                }
                if place % 100 == 0 { progress("drawing \(split.name)", place, split.entries.count) }
            }
            for (place, text) in texts.enumerated() {
                let isValidation = place % Self.validationEvery == Self.validationEvery - 1
                if split.name == (isValidation ? "validation" : "train") { try writer.addDocument(text) }
                if place % 1000 == 0 { progress("encoding \(split.name) text", place, texts.count) }
            }
        }
        let drawn = try ContactSheet(entries: sheet, columns: 8).render()
        try writer.add(
            file: PackedDataset.FileName.sheet,
            contents: try PNG.encode(rgb: drawn.rgb, width: drawn.width, height: drawn.height))
        let manifest = try writer.finish(progress: progress)
        return Report(
            path: directory.place, digest: manifest.digest,
            pairs: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.pairs) }),
            documents: Dictionary(uniqueKeysWithValues: manifest.splits.map { ($0.name, $0.documents) }),
            captionTokens: manifest.splits.reduce(0) { $0 + $1.captionTokens },
            textTokens: manifest.splits.reduce(0) { $0 + $1.textTokens }, vocabulary: tokenizer.vocabulary,
            tokenizerDigest: tokenizer.digest, tokenizerNotes: notes)
    }

    /// What each split shows: the same captions for training and validation, others, and each of them once, held out.
    private static func splits(_ scenes: Int) -> [(name: String, entries: [Entry])] {
        func known(_ count: Int, seed: UInt64) -> [Entry] {
            (0..<count).map { index in
                var choices = SceneChoices(seed: seed, index: index)
                var description = SceneDescription(kind: index, &choices)
                while isHeldOut(description) { description = SceneDescription(kind: index, &choices) }
                return Entry(description: description, seed: seed + 2, index: index)
            }
        }
        var heldOut: [Entry] = [], seen: Set<SceneDescription> = []
        let wanted = max(24, scenes / heldOutShare)
        // Some kinds have few captions.
        for index in 0..<100 * wanted where heldOut.count < wanted {
            var choices = SceneChoices(seed: 4, index: index)
            let description = SceneDescription(kind: index, &choices)
            guard isHeldOut(description), seen.insert(description).inserted else { continue }
            heldOut.append(Entry(description: description, seed: 5, index: index))
        }
        return [
            ("train", known(scenes, seed: 0)), ("validation", known(max(8, scenes / validationEvery), seed: 1)),
            ("held_out", heldOut),
        ]
    }

    private static func isHeldOut(_ description: SceneDescription) -> Bool {
        Array(description.caption.utf8).withUnsafeBytes { SHA256.shortDigest($0) } % heldOutEvery == 0
    }
}

extension SceneDescription {
    /// One of the six kinds of GenEval, in turn: an object, two, several, a colour, a position, two colours.
    init(kind: Int, _ choices: inout SceneChoices) {
        let shapes = choices.shuffled(SceneShape.allCases), colours = choices.shuffled(SceneColour.allCases)
        switch kind % 6 {
        case 0: self.init([Group(shapes[0])])
        case 1: self.init([Group(shapes[0]), Group(shapes[1])])
        case 2:
            let count = 2 + choices.next(below: Self.most - 1)
            self.init([Group(shapes[0], count: count, colour: choices.next(below: 2) == 0 ? nil : colours[0])])
        case 3: self.init([Group(shapes[0], colour: colours[0])])
        case 4:
            // Of four pairs one has the same shape twice.
            let other = choices.next(below: 4) == 0 ? shapes[0] : shapes[1]
            let relation = choices.element(of: SceneRelation.allCases)
            self.init([
                Group(shapes[0], colour: colours[0]),
                Group(other, colour: colours[1], position: Position(relation, of: 0)),
            ])
        default:
            let count = choices.next(below: 3) == 0 ? 2 + choices.next(below: 2) : 1
            self.init([Group(shapes[0], count: count, colour: colours[0]), Group(shapes[1], colour: colours[1])])
        }
    }
}
