
# `cargo xtask …` is completed as cargo-xtask is above, beside what cargo's own completion says.
function __fish_cargo_xtask_words
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]; and string match -qr '^[-+]' -- $words[1]
        set -e words[1]
    end
    test "$words[1]" = xtask; or return 1
    set -e words[1]
    string escape -- $words; or true
end

function __fish_cargo_xtask_answers
    complete -C (string join ' ' -- cargo-xtask (__fish_cargo_xtask_words) (commandline -ct))
end

complete -c cargo -n '__fish_cargo_xtask_words >/dev/null' -f -a '(__fish_cargo_xtask_answers)'
