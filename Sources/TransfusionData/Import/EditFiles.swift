internal import TransfusionSupport

/// Edits whose pictures are files: a JSONL file with lines `{"source", "instruction", "target"}`, or folders as InstructPix2Pix's
/// data have them, each with a `prompt.json` and pairs of pictures `NAME_0.jpg` and `NAME_1.jpg`.
final class EditFiles: PictureSource {
    let name: String
    private let prefix: String
    /// Where the paths of pictures begin.
    private let root: String
    /// The list of edits; nil for folders.
    private let listFile: String?
    /// The number of each picture by its path; nil for one that cannot be used.
    private var numbers: [String: Int?] = [:]
    /// The pictures that can be used.
    private var files: [String] = []

    /// A folder's own list of edits.
    private static let listName = "edits.jsonl"
    /// What says the instruction in a folder of InstructPix2Pix, and under which key.
    private static let prompt = (file: "prompt.json", key: "edit")

    init(_ path: String, prefix: String) {
        name = path
        self.prefix = prefix
        let own = path + "/" + Self.listName
        if Files.isDirectory(path) {
            root = path
            listFile = Files.exists(own) ? own : nil
        } else {
            root = Paths.parent(of: path)
            listFile = path
        }
    }

    func list(
        to pictures: PictureList, bad: BadInput, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        let before = (pictures.captionCount, bad.count)
        if let listFile {
            try readLines(of: listFile, to: pictures, bad, progress)
        } else {
            var folders: [String] = []
            Self.findFolders(in: root, under: "", &folders)
            for (done, folder) in folders.sorted().enumerated() {
                do throws(DataError) { try readFolder(folder, to: pictures) } catch { bad.add(error) }
                progress("looking at the edits of \(name)", done, folders.count)
            }
        }
        guard before != (pictures.captionCount, bad.count) else {
            throw DataError(
                name,
                listFile == nil
                    ? "has neither \(Self.listName) nor folders with a \(Self.prompt.file) and pictures beside it"
                    : "names no edit")
        }
    }

    private func readLines(
        of list: String, to pictures: PictureList, _ bad: BadInput,
        _ progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        pictures.note(list)
        try JSONLines.forEach(list) { (line, file) throws(DataError) in
            do throws(DataError) {
                let texts = try JSONLines.texts(PictureEdit.keys, of: line, in: file)
                let place = "\(list):\(line.number)"
                try add(
                    source: try PictureFolder.inside(texts[0], place: place), instruction: texts[1],
                    target: try PictureFolder.inside(texts[2], place: place), to: pictures, place: place)
            } catch {
                bad.add(error)
            }
            progress("looking at the edits of \(name), line", line.number, 0)
        }
    }

    /// The folders below one that hold an instruction.
    private static func findFolders(in root: String, under directory: String, _ found: inout [String]) {
        for (name, kind) in Files.entries(in: root + "/" + directory) {
            if kind == .directory {
                findFolders(in: root, under: directory + name + "/", &found)
            } else if name == prompt.file {
                found.append(directory)
            }
        }
    }

    /// - Parameter folder: Empty, or with a slash at its end.
    private func readFolder(_ folder: String, to pictures: PictureList) throws(DataError) {
        let prompt = root + "/" + folder + Self.prompt.file
        let bytes = try Files.read(prompt, limit: 1 << 20)
        let instruction = try bytes.withBytes { (bytes) throws(DataError) in
            do throws(JSONReader.Problem) {
                return try JSONLine.texts([Self.prompt.key], in: bytes)[0]
            } catch {
                throw DataError(prompt, error.description)
            }
        }
        pictures.note(prompt)
        let names = Files.entries(in: root + "/" + folder).map(\.name).sorted()
        var isEmpty = true
        for source in names where PictureFolder.extensions.contains(Paths.fileExtension(of: source)) {
            guard let dot = source.lastIndex(of: "."), source[..<dot].hasSuffix("_0") else { continue }
            isEmpty = false
            let target = source[..<dot].dropLast() + "1" + source[dot...]
            try add(
                source: folder + source, instruction: instruction, target: folder + target, to: pictures, place: prompt)
        }
        guard !isEmpty else { throw DataError(prompt, "has no picture beside it whose name ends in _0") }
    }

    /// - Parameter place: What names the pictures, for errors.
    private func add(
        source: String, instruction: String, target: String, to list: PictureList, place: String
    ) throws(DataError) {
        // Both are looked at before either is taken.
        for file in [source, target] where numbers[file] == nil {
            numbers[file] = .some(nil)
            let path = root + "/" + file
            guard !Files.isMissing(path) else { throw DataError(place, "there is no file \(file)") }
            try PictureFile.check(path)
            numbers.removeValue(forKey: file)
        }
        guard let original = try number(of: source, in: list), let image = try number(of: target, in: list) else {
            return
        }
        try list.addEdit(instruction, of: original, to: image)
    }

    /// - Returns: nil for a picture that cannot be used, as was said before.
    private func number(of file: String, in list: PictureList) throws(DataError) -> Int? {
        if let number = numbers[file] { return number }
        list.note(root + "/" + file)
        let number = try list.addPicture(key: prefix + file)
        numbers[file] = number
        files.append(file)
        return number
    }

    func forEachPicture(
        from first: Int, _ body: (Result<PictureBytes, DataError>) throws(DataError) -> Bool
    ) throws(DataError) {
        for file in files.dropFirst(first) where try !body(PictureFolder.open(root + "/" + file)) { return }
    }
}
