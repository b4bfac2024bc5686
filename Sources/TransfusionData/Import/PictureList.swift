internal import TransfusionSupport

/// The pictures of some folders with their captions, as each folder's `metadata.jsonl` names them.
struct PictureList {
    /// A file. It is listed once, however many captions it has.
    struct File {
        let path: String
        /// What its pairs are called.
        let key: String
    }

    struct Pair {
        /// The number of the file.
        let file: Int
        let caption: String
    }

    /// In the order in which they are first named.
    private(set) var files: [File] = []
    private(set) var pairs: [Pair] = []
    /// PNG files of the folders that no line names.
    private(set) var filesWithoutCaption = 0
    /// The number of each file by its path; nil for one that cannot be used.
    private var numbers: [String: Int?] = [:]

    /// Looks at each file's header. What cannot be used is left out and added to `bad`.
    init(
        _ folders: [String], bad: inout BadInput, progress: (_ phase: String, _ done: Int, _ total: Int) -> Void
    ) throws(DataError) {
        let folders = folders.map { Paths.withoutTrailingSlash($0) }
        for (index, folder) in folders.enumerated() where folders[..<index].contains(folder) {
            throw DataError(wrongUse: "--folder: \(folder) is given twice")
        }
        let prefixes = Self.prefixes(of: folders)
        for (folder, prefix) in zip(folders, prefixes) {
            let metadata = folder + "/metadata.jsonl"
            guard Files.exists(metadata) else {
                throw DataError(
                    metadata,
                    "is missing; it must hold a line {\"file_name\": …, \"text\": …} for each picture of the folder")
            }
            let before = (pairs.count, bad.count)
            try JSONLines.forEach(metadata) { (line, file) throws(DataError) in
                do throws(DataError) {
                    let texts = try JSONLines.texts(["file_name", "text"], of: line, in: file)
                    try add(
                        texts[0], caption: texts[1], folder: folder, prefix: prefix,
                        place: "\(metadata):\(line.number)")
                } catch {
                    bad.add(error)
                }
                progress("looking at the pictures of \(folder), line", line.number, 0)
            }
            guard before != (pairs.count, bad.count) else { throw DataError(metadata, "names no picture") }
        }
        for folder in folders {
            progress("looking for pictures without a caption in \(folder)", 0, 0)
            countFilesWithoutCaption(in: folder, apartFrom: folders)
        }
    }

    /// - Parameter place: The line, for errors.
    private mutating func add(
        _ fileName: String, caption: String, folder: String, prefix: String, place: String
    ) throws(DataError) {
        let components = fileName.split(separator: "/").filter { $0 != "." }
        guard !fileName.hasPrefix("/"), !components.contains("..") else {
            throw DataError(place, "\(fileName) leaves the folder")
        }
        let name = components.joined(separator: "/")
        let path = folder + "/" + name
        if let number = numbers[path] {
            // The other captions of a file that cannot be used go with it.
            if let number { pairs.append(Pair(file: number, caption: caption)) }
            return
        }
        numbers[path] = .some(nil)
        guard !Files.isMissing(path) else { throw DataError(place, "there is no file \(fileName)") }
        try PictureFile.check(path)
        numbers[path] = files.count
        pairs.append(Pair(file: files.count, caption: caption))
        files.append(File(path: path, key: prefix + name))
    }

    /// What comes before a file's name, so that files of different folders are called differently: nothing for one folder,
    /// else the folder's name, or its path where two have the same name.
    private static func prefixes(of folders: [String]) -> [String] {
        guard folders.count > 1 else { return folders.map { _ in "" } }
        let names = folders.map { Paths.name(of: $0) }
        return (Set(names).count == names.count ? names : folders).map { $0 + "/" }
    }

    /// - Parameter others: Folders that are looked through on their own.
    private mutating func countFilesWithoutCaption(in directory: String, apartFrom others: [String]) {
        for (name, kind) in Files.entries(in: directory) {
            let path = directory + "/" + name
            if kind == .directory {
                if !others.contains(path) { countFilesWithoutCaption(in: path, apartFrom: others) }
            } else if Paths.fileExtension(of: name) == "png", numbers[path] == nil {
                filesWithoutCaption += 1
            }
        }
    }
}
