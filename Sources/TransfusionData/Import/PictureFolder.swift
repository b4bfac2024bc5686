internal import TransfusionSupport

/// A folder of pictures with a `metadata.jsonl` or a `metadata.csv`, or with a text file beside each picture.
package final class PictureFolder: PictureSource {
    let name: String
    /// What comes before the names of its files in keys.
    private let prefix: String
    private let captionKeys: CaptionKeys
    /// Folders inside of it that are sources on their own.
    private let others: [String]
    /// The number of each file by its name, among those of this folder; nil for one that cannot be used.
    private var numbers: [String: Int?] = [:]
    /// The files that can be used.
    private var files: [String] = []

    init(_ folder: String, prefix: String, captionKeys: CaptionKeys, apartFrom others: [String]) {
        name = folder
        self.prefix = prefix
        self.captionKeys = captionKeys
        self.others = others
    }

    /// Of files that are taken for pictures.
    package static let extensions: Set = ["png", "jpg", "jpeg", "webp", "gif"]

    func list(
        to list: PictureList, bad: BadInput, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        let before = (list.captionCount, bad.count)
        let (jsonl, csv) = (name + "/metadata.jsonl", name + "/metadata.csv")
        let source: String
        switch (Files.exists(jsonl), Files.exists(csv)) {
        case (true, true):
            throw DataError(name, "has metadata.jsonl and metadata.csv; take one of them away")
        case (true, false):
            source = jsonl
            try readLines(of: jsonl, to: list, bad, progress)
        case (false, true):
            source = csv
            try readTable(csv, to: list, bad, progress)
        case (false, false):
            source = name
            try readTextFiles(to: list, bad, progress)
        }
        guard before != (list.captionCount, bad.count) else {
            throw DataError(
                source,
                source == name
                    ? "has no metadata.jsonl, no metadata.csv and no picture with a .txt beside it" : "names no picture"
            )
        }
        guard source != name else { return }
        progress("looking for pictures without a caption in \(name)", 0, 0)
        Self.forEachPicture(in: name, under: "", apartFrom: others) { file in
            if numbers[file] == nil { list.withoutCaption += 1 }
        }
    }

    private func readLines(
        of metadata: String, to list: PictureList, _ bad: BadInput,
        _ progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        try JSONLines.forEach(metadata) { (line, file) throws(DataError) in
            let place = "\(metadata):\(line.number)"
            do throws(DataError) {
                let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[line.range])
                let members: CaptionKeys.Members
                do throws(JSONReader.Problem) {
                    members = try captionKeys.members(of: bytes, and: ["file_name"])
                } catch {
                    throw DataError(place, error.description)
                }
                guard let fileName = members.texts["file_name"] else {
                    throw DataError(place, "\"file_name\" is missing")
                }
                guard let captions = members.captions else { throw DataError(place, captionKeys.missing) }
                try add(fileName, captions, to: list, place: place)
            } catch {
                bad.add(error)
            }
            progress("looking at the pictures of \(name), line", line.number, 0)
        }
    }

    private func readTable(
        _ metadata: String, to list: PictureList, _ bad: BadInput,
        _ progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        let file = try MappedFile(metadata)
        defer { withExtendedLifetime(file) {} }
        var rows = CSVRows(file.bytes, name: metadata)
        guard let header = try rows.next() else { throw DataError(metadata, "is empty") }
        guard let nameColumn = header.fields.firstIndex(of: "file_name") else {
            throw DataError("\(metadata):\(header.line)", "no column is called \"file_name\"")
        }
        guard let captionColumn = captionKeys.keys.lazy.compactMap({ header.fields.firstIndex(of: $0) }).first else {
            throw DataError("\(metadata):\(header.line)", captionKeys.missing)
        }
        while true {
            do throws(DataError) {
                guard let row = try rows.next() else { return }
                let place = "\(metadata):\(row.line)"
                guard row.fields.count == header.fields.count else {
                    throw DataError(place, "has \(row.fields.count) fields, the first line \(header.fields.count)")
                }
                try add(row.fields[nameColumn], [row.fields[captionColumn]], to: list, place: place)
                progress("looking at the pictures of \(name), line", row.line, 0)
            } catch {
                bad.add(error)
            }
        }
    }

    private func readTextFiles(
        to list: PictureList, _ bad: BadInput,
        _ progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        var names: [String] = []
        Self.forEachPicture(in: name, under: "", apartFrom: others) { names.append($0) }
        names.sort()
        for (done, file) in names.enumerated() {
            let caption = name + "/" + file.prefix(upTo: file.lastIndex(of: ".") ?? file.endIndex) + ".txt"
            guard Files.exists(caption) else {
                list.withoutCaption += 1
                continue
            }
            do throws(DataError) {
                let text = try Files.readText(caption, limit: CSVRows.longestField)
                try add(file, [Captions.trimmed(text)], to: list, place: caption)
            } catch {
                bad.add(error)
            }
            progress("looking at the pictures of \(name)", done, names.count)
        }
    }

    /// - Parameter place: The line, for errors.
    private func add(
        _ fileName: String, _ captions: [String], to list: PictureList, place: String
    ) throws(DataError) {
        let file = try Self.inside(fileName, place: place)
        if numbers[file] == nil {
            numbers[file] = .some(nil)
            let path = name + "/" + file
            guard !Files.isMissing(path) else { throw DataError(place, "there is no file \(fileName)") }
            try PictureFile.check(path)
            list.note(path)
            numbers[file] = try list.addPicture(key: prefix + file)
            files.append(file)
        }
        // The other captions of a file that cannot be used go with it.
        guard let number = numbers[file] ?? nil else { return }
        for caption in captions { try list.addCaption(caption, of: number) }
    }

    /// A path inside of a folder in its shortest form.
    static func inside(_ fileName: String, place: String) throws(DataError) -> String {
        let components = fileName.split(separator: "/").filter { $0 != "." }
        guard !fileName.hasPrefix("/"), !components.contains("..") else {
            throw DataError(place, "\(fileName) leaves the folder")
        }
        guard !components.isEmpty, !fileName.utf8.contains(0) else {
            throw DataError(place, "\"\(fileName)\" is no name of a file")
        }
        return components.joined(separator: "/")
    }

    func forEachPicture(
        from first: Int, _ body: (Result<PictureBytes, DataError>) throws(DataError) -> Bool
    ) throws(DataError) {
        for file in files.dropFirst(first) where try !body(Self.open(name + "/" + file)) { return }
    }

    static func open(_ path: String) -> Result<PictureBytes, DataError> {
        do throws(DataError) {
            return .success(PictureBytes(name: path, storage: .file(try MappedFile(path))))
        } catch {
            return .failure(error)
        }
    }

    /// The path itself, or the paths of all pictures in it when it is a directory.
    package static func pictures(in path: String) -> [String] {
        guard Files.isDirectory(path) else { return [path] }
        var paths: [String] = []
        forEachPicture(in: path, under: "", apartFrom: []) { paths.append(path + "/" + $0) }
        return paths.sorted()
    }

    /// The names of all pictures in a directory and those below it, by their extensions.
    /// - Parameter others: Folders that are looked through on their own.
    private static func forEachPicture(
        in root: String, under directory: String, apartFrom others: [String], _ body: (String) -> Void
    ) {
        for (name, kind) in Files.entries(in: root + "/" + directory) {
            let path = directory + name
            if kind == .directory {
                if !others.contains(root + "/" + path) {
                    forEachPicture(in: root, under: path + "/", apartFrom: others, body)
                }
            } else if extensions.contains(Paths.fileExtension(of: name)) {
                body(path)
            }
        }
    }
}
