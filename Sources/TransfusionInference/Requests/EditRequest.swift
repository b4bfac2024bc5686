internal import TransfusionConfig
internal import TransfusionData
internal import TransfusionSupport

/// Changes pictures as instructions say and writes what comes of them: all of `tf-sample edit`.
public struct EditRequest: Sendable {
    /// Which pictures are changed.
    public enum Edits: Sendable, Equatable {
        case one(image: String, instruction: String)
        /// JSONL with lines `{"source", "instruction"}`, and `target` where it is known.
        case file(String)
        /// The edits of a split of a data set; at most `limit` of them.
        case dataset(String, split: String, limit: Int?)
    }

    public var model: LoadedModel.Request
    public var edits: Edits
    public var settings = ImageSettings()
    /// Picture i uses `seed + i`; below 0, a seed is chosen at random.
    public var seed = 0
    /// A file that ends in `.png` for one picture, else a directory. Nothing may be there.
    public var output: String

    public init(model: LoadedModel.Request, edits: Edits, output: String) {
        self.model = model
        self.edits = edits
        self.output = output
    }

    /// What was drawn.
    public struct Report: Encodable, Sendable {
        public let model: String
        public let output: String
        public let pictures: [PictureRecord]
        /// Sources, what came of them, and what should; nil for one picture.
        public let sheet: String?
        public let seconds: Double
    }

    /// An edit with its pictures, as the model sees them.
    private struct Case {
        var prompt: Prompt
        let source: Picture
        /// What should come of it.
        let target: Picture?
    }

    private var isOneFile: Bool { PictureDirectory.isOneFile(output) }

    /// - Parameter warn: Gets lines for the user, such as a damaged checkpoint that was passed over.
    public func run(warn: (String) -> Void = { _ in }) throws -> Report {
        let listed = try check()
        let dataset: PackedDataset? = if case .dataset(let path, _, _) = edits { try PackedDataset(path) } else { nil }
        let model = try LoadedModel(model, tokenizer: dataset?.tokenizer, warn: warn)
        let coder = try model.pictureCoder()
        let settings = try settings.settings(for: coder)
        let cases = try dataset.map { try self.cases(of: $0, model, coder) } ?? read(listed, model, coder)
        let directory = isOneFile ? nil : try PictureDirectory(output)

        var (drawn, seconds) = try model.pictures(
            of: cases.map(\.prompt), seed: seed, settings, coder, work: "editing")

        let metadata = PictureMetadata(model: model.name, settings: settings)
        var sheet: String?
        if let directory {
            sheet = try write(&drawn, cases, metadata, to: directory)
        } else {
            drawn[0].record.file = Paths.name(of: output)
            if case .one(let image, _) = edits { drawn[0].record.source = image }
            try PictureDirectory.write(
                drawn[0].picture, text: try metadata.chunks(drawn[0].record, of: drawn[0].picture), to: output)
        }
        return Report(
            model: model.name, output: output, pictures: drawn.map(\.record), sheet: sheet, seconds: seconds)
    }

    /// Everything that can be refused before the model is loaded.
    /// - Returns: The edits that files name; empty for those of a data set.
    private func check() throws -> [PictureEdit] {
        if let problem = settings.problem { throw problem }
        var listed: [PictureEdit] = [], several = true
        switch edits {
        case .one(let image, let instruction):
            listed = [PictureEdit(source: image, instruction: instruction)]
            several = false
        case .file(let path): listed = try PictureEdit.read(path)
        case .dataset: break
        }
        try PictureDirectory.check(output, several: several)
        guard listed.count <= PromptFile.limit else {
            throw CommandFailure(
                "\(listed.count) edits are given; at most \(PromptFile.limit) are drawn at once", .wrongUse)
        }
        let problems = listed.flatMap { [$0.source] + ($0.target.map { [$0] } ?? []) }.compactMap { path -> String? in
            do throws(DataError) {
                try PictureFile.check(path)
                return nil
            } catch {
                return error.description
            }
        }
        guard problems.isEmpty else { throw CommandFailure(problems, .failure) }
        return listed
    }

    private func read(_ listed: [PictureEdit], _ model: LoadedModel, _ coder: PictureCoder) throws -> [Case] {
        try listed.map { edit in
            var prompt = try Prompt(edit.instruction, model.tokenizer)
            let original = coder.image(of: try PictureFile.read(edit.source))
            prompt.original = original
            let target = try edit.target.map { coder.picture(of: coder.image(of: try PictureFile.read($0))) }
            return Case(prompt: prompt, source: coder.picture(of: original), target: target)
        }
    }

    private func cases(of dataset: PackedDataset, _ model: LoadedModel, _ coder: PictureCoder) throws -> [Case] {
        guard case .dataset(_, let split, let limit) = edits else { return [] }
        try DatasetPrompts.check(dataset, for: model)
        var cases: [Case] = []
        for index in try dataset.split(split).pairRange where cases.count < limit ?? .max {
            let pair = try dataset.pair(index)
            guard let number = pair.original else { continue }
            let tokens = try dataset.caption(pair), original = try dataset.image(number)
            var prompt = Prompt(try dataset.tokenizer.decode(tokens), tokens: tokens, heldOut: split != "train")
            prompt.original = original
            cases.append(
                Case(
                    prompt: prompt, source: coder.picture(of: original),
                    target: coder.picture(of: try dataset.image(pair.image))))
        }
        guard !cases.isEmpty else {
            throw CommandFailure(
                "\(dataset.path): has no edits in its split \"\(split)\"; name another with --split", .wrongUse)
        }
        return cases
    }

    /// Writes the pictures, under the same names in `sources` and `targets` what they were made of and should be, and a sheet.
    /// - Returns: The sheet's path.
    private func write(
        _ drawn: inout [(record: PictureRecord, picture: Picture)], _ cases: [Case], _ metadata: PictureMetadata,
        to directory: PictureDirectory
    ) throws -> String {
        let sources = try PictureDirectory(directory.path + "/sources")
        let targets = cases.contains { $0.target != nil } ? try PictureDirectory(directory.path + "/targets") : nil
        for (i, edit) in cases.enumerated() {
            let file = drawn[i].record.file
            try PictureDirectory.write(edit.source, to: sources.path + "/" + file)
            drawn[i].record.source = "sources/" + file
            if let targets, let target = edit.target {
                try PictureDirectory.write(target, to: targets.path + "/" + file)
                drawn[i].record.target = "targets/" + file
            }
        }
        try directory.write(drawn, metadata)
        let entries = zip(drawn, cases).map { drawn, edit in
            ContactSheet.Entry(
                label: drawn.record.prompt,
                pictures: [edit.source, drawn.picture] + (edit.target.map { [$0] } ?? []))
        }
        let sheet = directory.path + "/sheet.png"
        try PictureDirectory.write(try ContactSheet(entries: entries, columns: 4).render(), to: sheet)
        return sheet
    }
}
