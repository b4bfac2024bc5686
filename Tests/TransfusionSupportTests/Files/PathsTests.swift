import Testing
import TransfusionSupport

@Suite struct PathsTests {
    /// Path, parent, name, stem, extension. Foundation's functions trap on the one-letter paths among them.
    @Test(
        arguments: [
            ("r", ".", "r", "r", ""),
            (".", "./..", ".", ".", ""),
            ("..", "../..", "..", "..", ""),
            ("a/..", "a/../..", "..", "..", ""),
            ("", ".", "", "", ""),
            ("/", "/", "/", "/", ""),
            ("/r", "/", "r", "r", ""),
            ("r/", ".", "r", "r", ""),
            ("a/r", "a", "r", "r", ""),
            ("a//r//", "a", "r", "r", ""),
            ("ä", ".", "ä", "ä", ""),
            ("a/b.YAML", "a", "b.YAML", "b", "yaml"),
            ("a/.hidden", "a", ".hidden", ".hidden", ""),
            ("exp=3e-4,bs=8.yaml", ".", "exp=3e-4,bs=8.yaml", "exp=3e-4,bs=8", "yaml"),
        ])
    func takesApart(_ path: String, _ parent: String, _ name: String, _ stem: String, _ fileExtension: String) {
        #expect(Paths.parent(of: path) == parent)
        #expect(Paths.name(of: path) == name)
        #expect(Paths.stem(of: path) == stem)
        #expect(Paths.fileExtension(of: path) == fileExtension)
    }

    @Test func joins() {
        #expect(Paths.join("a", "b") == "a/b" && Paths.join("a/", "b") == "a/b" && Paths.join("/", "b") == "/b")
        #expect(Paths.parent(of: "a/b/.") == "a" && Paths.parent(of: "a/./b") == "a")
    }

    @Test(arguments: [("a/", "a"), ("a//", "a"), ("/", "/"), ("a", "a"), ("", "")])
    func dropsTrailingSlashes(_ path: String, _ expected: String) {
        #expect(Paths.withoutTrailingSlash(path) == expected)
    }
}
